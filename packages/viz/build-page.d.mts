/** The text of src/generated/page.ts, made from src/page. */
export function buildPage(): Promise<string>
