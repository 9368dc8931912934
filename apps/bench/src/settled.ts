/** Waiting for threads that look for work: what one library leaves running must not be measured with the next one. */

/** How long a look takes, and what a process whose threads sleep may use of it. */
const LOOK_MS = 5
const IDLE_MS = 1
const LIMIT_MS = 300

/**
 * Resolves when the threads of this process sleep, after 0.3 s at the latest. Thread pools (ONNX Runtime's among them) go on
 * spinning for tens of milliseconds after a run, and take a core from whoever is measured next.
 */
export async function settled(): Promise<void> {
  const start = performance.now()
  for (;;) {
    const before = process.cpuUsage()
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    const { user, system } = process.cpuUsage(before)
    if ((user + system) / 1000 < IDLE_MS || performance.now() - start > LIMIT_MS) return
  }
}
