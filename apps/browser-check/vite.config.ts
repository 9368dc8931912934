import { defineConfig } from 'vite'

// no alias and no plugin: the page gets what a user's bundler would get from the published entry points
export default defineConfig({ base: './', build: { target: 'es2022', emptyOutDir: true } })
