/** Sets the CPU backend when the program has set none: the one place where this package chooses for its users. */
import { cpu } from '@heed/backend-cpu'
import { hasBackend, setBackend } from '@heed/tensor'

let pending: Promise<void> | null = null

export async function ensureBackend(): Promise<void> {
  if (hasBackend()) return
  pending ??= cpu().then((backend) => {
    // somebody may have chosen meanwhile
    if (!hasBackend()) setBackend(backend)
    pending = null
  })
  await pending
}
