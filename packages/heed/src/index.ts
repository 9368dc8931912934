export { type ExplainOptions, explain } from './explain.js'
export { main } from './main.js'
