// Ops that are layers and training steps: rows over @heed/nn, @heed/attention and @heed/train.
import type { Row } from './ops-row.js'

export const layerRows: Readonly<Record<string, Row>> = {}
