// How the pages of apps are built: from the published entry points, as a user's bundler would get them; and what the
// bundler would warn a user about (a module of Node's, a file that it cannot find) fails the build.
import type { UserConfig } from 'vite'

export function pageBuild(outDir: string): UserConfig {
  const warnings: string[] = []
  return {
    base: './',
    build: {
      target: 'es2022',
      outDir,
      emptyOutDir: true,
      rolldownOptions: {
        onLog(level, { message }) {
          if (level === 'warn') warnings.push(message)
        },
      },
    },
    plugins: [
      {
        name: 'warnings-are-errors',
        generateBundle() {
          if (warnings.length) this.error(warnings.join('\n'))
        },
      },
    ],
  }
}
