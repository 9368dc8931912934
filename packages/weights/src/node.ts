// The door to Node's own modules. They are named at run time, so that no bundler for browsers looks for them.

const load = (name: string) => import(/* @vite-ignore */ /* webpackIgnore: true */ `node:${name}`)

/** True in Node, Deno and Bun, where a string that is not a URL is a path. */
export const hasFiles: boolean = typeof process !== 'undefined' && typeof process.versions?.node === 'string'

export const fsPromises = (): Promise<typeof import('node:fs/promises')> => load('fs/promises')
export const nodeCrypto = (): Promise<typeof import('node:crypto')> => load('crypto')
export const nodePath = (): Promise<typeof import('node:path')> => load('path')
export const nodeUrl = (): Promise<typeof import('node:url')> => load('url')
