/** What a user did wrong, said in one line; everything else keeps its stack. */
export class UsageError extends Error {}

/** The first line of any error, for rows that could not be measured. */
export const oneLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split('\n')[0].trim().slice(0, 300)
