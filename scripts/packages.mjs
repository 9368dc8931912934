// The one place that says which packages exist, what they may import (the arrows of docs/architecture.md)
// and how they are built. `node scripts/packages.mjs` rewrites every package.json and tsconfig.json from it,
// `--check` only compares. It knows nothing of what is inside a package.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * name → {
 *   description,
 *   imports        workspace packages it imports (tensor becomes a peer: one copy on a page),
 *   optionalPeers  workspace packages it may import by type or by `import()` only,
 *   installs       workspace packages that come along without being imported (the optional peer of a dependency),
 *   peers          packages from outside it loads with `import()` only, if installed: name → range,
 *   dependencies, exports, bin, entries, files, prebuild   as they say,
 *   node           may use Node's modules statically; without it the package must load in a browser,
 *   nodeTypes      types of Node for code behind a dynamic import
 * }
 */
export const packages = {
  tensor: { description: 'Lazy tensors, gradients, taps and the reference kernels', imports: [] },
  'backend-cpu': {
    description: 'WASM SIMD kernels for @heed/tensor',
    imports: ['tensor'],
    prebuild: 'node build-kernels.mjs',
  },
  'backend-webgl': {
    description: 'WebGL2 for @heed/tensor, on the context of TensorFlow.js',
    imports: ['tensor'],
    peers: { '@tensorflow/tfjs-backend-webgl': '^4.22.0', '@tensorflow/tfjs-core': '^4.22.0' },
  },
  conformance: {
    description: 'What every Heed backend must satisfy',
    imports: ['tensor'],
    dependencies: { 'fast-check': '^4.0.0' },
  },
  nn: { description: 'Modules, linear layers, norms, MLPs, recurrent layers', imports: ['tensor'] },
  attention: {
    description: 'Masks, positions, caches, attention layers and transformer blocks',
    imports: ['tensor', 'nn'],
  },
  tokenizer: {
    description: 'Byte-level BPE and WordPiece with exact UTF-16 offsets, and their training',
    imports: [],
    nodeTypes: true,
  },
  weights: { description: 'Read and write safetensors, shards, checksums', imports: [], nodeTypes: true },
  models: {
    description: 'GPT-2 and BERT families: load, run, generate, save',
    imports: ['tensor', 'nn', 'attention', 'tokenizer', 'weights', 'backend-cpu'],
    optionalPeers: ['model-tiny'],
    nodeTypes: true,
  },
  'model-tiny': {
    description: 'The small built-in language model of Heed',
    imports: [],
    files: ['data', 'README.md'],
  },
  train: {
    description: 'Losses, optimisers, schedules, the training loop and checkpoints',
    imports: ['tensor', 'weights'],
    nodeTypes: true,
  },
  interpret: { description: 'Interpretability methods over any run with taps', imports: ['tensor'] },
  viz: { description: 'Pictures of attention: SVG, terminal, one-file HTML report', imports: [] },
  heed: {
    description: 'The command line: explain, generate and see inside attention models',
    imports: ['tensor', 'weights', 'models', 'interpret', 'viz', 'backend-cpu'],
    installs: ['model-tiny'],
    bin: { heed: './dist/bin.js' },
    entries: ['src/index.ts', 'src/bin.ts'],
    node: true,
  },
}
export const apps = {
  bench: {
    description: 'Every backend and every case, side by side with peers',
    imports: ['tensor', 'conformance', 'models', 'nn', 'tokenizer', 'train', 'backend-cpu', 'backend-webgl'],
    dependencies: { '@tensorflow/tfjs-backend-webgl': '4.22.0', '@tensorflow/tfjs-core': '4.22.0' },
    entries: ['src/index.ts', 'src/memory-process.ts', 'src/endurance-process.ts'],
    page: true,
    node: true,
  },
  goldens: {
    description: 'Runs the reference collections against Heed',
    imports: [
      'tensor',
      'nn',
      'attention',
      'tokenizer',
      'weights',
      'models',
      'train',
      'backend-cpu',
      'backend-webgl',
    ],
    // the page's, then those of scripts/chromium.ts, which is built in and leaves them where they are
    dependencies: {
      '@tensorflow/tfjs-backend-webgl': '4.22.0',
      '@tensorflow/tfjs-core': '4.22.0',
      '@sparticuz/chromium': '153.0.0',
      playwright: '1.65.1',
    },
    // no declarations: nobody imports it, and it reaches into scripts/
    build: 'tsup src/index.ts --config ../../tsup.config.json && vite build --logLevel warn',
    node: true,
  },
  'browser-check': {
    description:
      'The published entry points through Vite, webpack and a script tag, opened in Chromium and compared with Node',
    imports: ['tensor', 'backend-cpu', 'backend-webgl', 'weights', 'models', 'interpret'],
    installs: ['model-tiny'],
    // an app has what a user's would: the optional peers of what it imports, and its bundlers
    dependencies: {
      '@tensorflow/tfjs-backend-webgl': '4.22.0',
      '@tensorflow/tfjs-core': '4.22.0',
      webpack: '5.113.0',
    },
    build: 'vite build --logLevel warn',
  },
  'backend-template': {
    description: 'A backend of one kernel, to start from: pnpm new-backend NAME copies it',
    imports: ['tensor'],
  },
  'train-tiny': {
    description: 'Makes the built-in model: corpus, stories, training, evaluation, export',
    imports: ['tensor', 'nn', 'tokenizer', 'weights', 'models', 'train', 'backend-cpu'],
    node: true,
  },
}

/** The name a package is published under; apps are private. */
export const scoped = (name) => (name === 'heed' ? 'heed' : `@heed/${name}`)

const root = fileURLToPath(new URL('..', import.meta.url))
const unreleased = '0.1.0-dev'
const version = (dir) =>
  (existsSync(`${root}${dir}/package.json`)
    ? JSON.parse(readFileSync(`${root}${dir}/package.json`, 'utf8')).version
    : undefined) ?? unreleased
const workspace = (names) => Object.fromEntries(names.map((name) => [scoped(name), 'workspace:^']))
const unlessEmpty = (key, value) => (Object.keys(value).length ? { [key]: value } : {})

function packageJson(kind, name, row) {
  const dir = `${kind}/${name}`
  const isApp = kind === 'apps'
  // one copy of tensor on a page: a peer everywhere except where a program is installed whole
  const asPeer = !isApp && name !== 'heed' && row.imports.includes('tensor')
  const optional = row.optionalPeers ?? []
  const entries = row.entries ?? ['src/index.ts']
  const build =
    row.build ??
    `tsup ${entries.join(' ')} --config ../../tsup.config.json && ${row.page ? 'vite build --logLevel warn && ' : ''}tsc -p tsconfig.json`
  return {
    name: isApp ? `@heed-apps/${name}` : scoped(name),
    version: version(dir),
    ...(isApp ? { private: true } : {}),
    description: row.description,
    license: 'MIT',
    type: 'module',
    sideEffects: false,
    ...(isApp
      ? {}
      : {
          repository: { type: 'git', url: 'git+https://github.com/heed-js/heed.git', directory: dir },
          files: ['dist', ...(row.files ?? []).filter((file) => file !== 'README.md')],
        }),
    engines: { node: '>=20.19' },
    ...(row.bin ? { bin: row.bin } : {}),
    exports: {
      '.': { types: './dist/index.d.ts', default: './dist/index.js' },
      ...row.exports,
      './package.json': './package.json',
    },
    scripts: { build: `${row.prebuild ? `${row.prebuild} && ` : ''}${build}` },
    ...unlessEmpty('dependencies', {
      ...workspace([...row.imports.filter((n) => !(asPeer && n === 'tensor')), ...(row.installs ?? [])]),
      ...row.dependencies,
    }),
    ...unlessEmpty('peerDependencies', {
      ...workspace([...(asPeer ? ['tensor'] : []), ...optional]),
      ...row.peers,
    }),
    ...unlessEmpty(
      'peerDependenciesMeta',
      Object.fromEntries(
        [...optional.map(scoped), ...Object.keys(row.peers ?? {})].map((n) => [n, { optional: true }]),
      ),
    ),
    ...unlessEmpty('devDependencies', {
      ...workspace([...(asPeer ? ['tensor'] : []), ...optional]),
      ...row.peers,
    }),
  }
}

const tsconfig = (row) => ({
  extends: '../../tsconfig.base.json',
  compilerOptions: {
    noEmit: false,
    emitDeclarationOnly: true,
    outDir: 'dist',
    rootDir: 'src',
    ...(row.node || row.nodeTypes ? { types: ['node'] } : {}),
  },
  include: ['src'],
  exclude: ['src/**/*.test.ts'],
})

/** Every generated file: [path from the root, text]. */
export function generated() {
  const files = []
  for (const [kind, table] of Object.entries({ packages, apps }))
    for (const [name, row] of Object.entries(table))
      for (const [file, value] of [
        ['package.json', packageJson(kind, name, row)],
        ['tsconfig.json', tsconfig(row)],
      ])
        files.push([`${kind}/${name}/${file}`, `${JSON.stringify(value, null, 2)}\n`])
  return files
}

/** The generated files that differ from what is on disk. */
export const stale = () =>
  generated()
    .filter(([path, text]) => !existsSync(root + path) || readFileSync(root + path, 'utf8') !== text)
    .map(([path]) => path)

if (resolve(process.argv[1] ?? '') === fileURLToPath(import.meta.url)) {
  if (process.argv.includes('--check')) {
    for (const path of stale())
      console.error(`${path} is not what scripts/packages.mjs writes: run node scripts/packages.mjs`)
    if (stale().length) process.exit(1)
  } else
    for (const [path, text] of generated()) {
      const dir = `${root}${path.slice(0, path.lastIndexOf('/'))}`
      mkdirSync(`${dir}/src`, { recursive: true })
      if (path.startsWith('packages/') && !existsSync(`${dir}/src/index.ts`))
        writeFileSync(`${dir}/src/index.ts`, 'export {}\n')
      writeFileSync(root + path, text)
    }
}
