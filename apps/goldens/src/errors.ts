/** Bad arguments, or a machine without what they ask for: printed as one line, exit code 2. */
export class UsageError extends Error {
  override name = 'UsageError'
}
