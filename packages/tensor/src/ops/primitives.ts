/**
 * The vocabulary: every primitive by name. A backend that implements these runs everything; the reference table is
 * a `Record<PrimitiveName, …>`, so a name without a reference kernel does not compile.
 */
export const primitiveNames = [
  // elementwise, two operands
  'add',
  'sub',
  'mul',
  'div',
  'pow',
  'maximum',
  'less',
  'lessEqual',
  'equal',
  // elementwise, one operand
  'neg',
  'exp',
  'expm1',
  'log',
  'log1p',
  'sqrt',
  'sin',
  'cos',
  'tanh',
  'erf',
  'floor',
  'cast',
  // elementwise, three operands
  'where',
  // along axes
  'sum',
  'max',
  'prod',
  'argMax',
  'cumsum',
  'sort',
  'matmul',
  // views: no data moves
  'reshape',
  'transpose',
  'broadcastTo',
  'slice',
  // data movement
  'pad',
  'concat',
  'take',
  'takeAdd',
  'gather',
  'scatterAdd',
  'update',
  'dynamicSlice',
  // sources
  'iota',
  'randomBits',
  'randomUniform',
  // loops
  'scan',
] as const

export type PrimitiveName = (typeof primitiveNames)[number]
