/**
 * Transformer blocks: two residual lines (three with a memory) and what stands in their slots. A block knows where
 * the norms are; it knows nothing of masks, positions or heads.
 */

import { dropout, type Layer, type Module, module } from '@heed/nn'
import { add, type Context, checkOptions, type Tensor, tap, ValueError } from '@heed/tensor'

export interface BlockSlots {
  /** Makes a norm over dModel; called once per norm of the block. */
  norm: () => Layer
  attn: Layer
  /** Reads `ctx.memory`. */
  crossAttn?: (x: Tensor, memory: Tensor, ctx?: Context) => Tensor
  mlp: Layer
  /** Probability of dropping an element of what attention and MLP write; acts only with `ctx.key`. */
  dropout?: number
}
export interface BlockParts {
  ln1: Layer
  attn: Layer
  ln_cross?: Layer
  cross_attn?: NonNullable<BlockSlots['crossAttn']>
  ln2: Layer
  mlp: Layer
  attn_drop?: Layer
  cross_drop?: Layer
  mlp_drop?: Layer
}
export type Block = Module<BlockParts>

function partsOf(what: string, s: BlockSlots): BlockParts {
  checkOptions(what, s, ['norm', 'attn', 'crossAttn', 'mlp', 'dropout'])
  const { dropout: p = 0 } = s
  const drop = (on: boolean): Layer | undefined => (on && p > 0 ? dropout({ p }) : undefined)
  const cross = s.crossAttn !== undefined
  return {
    ln1: s.norm(),
    attn: s.attn,
    attn_drop: drop(true),
    ln_cross: cross ? s.norm() : undefined,
    cross_attn: s.crossAttn,
    cross_drop: drop(cross),
    ln2: s.norm(),
    mlp: s.mlp,
    mlp_drop: drop(true),
  }
}
const dropped = (drop: Layer | undefined, x: Tensor, ctx: Context): Tensor => (drop ? drop(x, ctx) : x)

function memoryOf(ctx: Context): Tensor {
  if (!ctx.memory)
    throw new ValueError('this block reads a memory; give ctx.memory [batch, position, dModel]')
  return ctx.memory
}

/** GPT-2's and most later models' block: norms stand before attention and MLP (Xiong et al. 2020). */
export function preNormBlock(slots: BlockSlots): Block {
  return module(partsOf('preNormBlock', slots), (m, x, ctx = {}) => {
    x = tap('resid_pre', x) // [batch, position, dModel]
    x = tap('resid_mid', add(x, dropped(m.attn_drop, tap('attn_out', m.attn(m.ln1(x), ctx)), ctx)))
    if (m.cross_attn && m.ln_cross) {
      const seen = tap('cross_attn_out', m.cross_attn(m.ln_cross(x), memoryOf(ctx), ctx))
      x = tap('resid_cross', add(x, dropped(m.cross_drop, seen, ctx)))
    }
    return tap('resid_post', add(x, dropped(m.mlp_drop, tap('mlp_out', m.mlp(m.ln2(x), ctx)), ctx)))
  }) as Block
}

/**
 * The original block (Vaswani et al. 2017; BERT): norms stand after each sum. `resid_mid`, `resid_post` are the sums
 * before the norm, `ln1` and `ln2` what goes on.
 */
export function postNormBlock(slots: BlockSlots): Block {
  return module(partsOf('postNormBlock', slots), (m, x, ctx = {}) => {
    x = tap('resid_pre', x) // [batch, position, dModel]
    x = m.ln1(tap('resid_mid', add(x, dropped(m.attn_drop, tap('attn_out', m.attn(x, ctx)), ctx))))
    if (m.cross_attn && m.ln_cross) {
      const seen = tap('cross_attn_out', m.cross_attn(x, memoryOf(ctx), ctx))
      x = m.ln_cross(tap('resid_cross', add(x, dropped(m.cross_drop, seen, ctx))))
    }
    return m.ln2(tap('resid_post', add(x, dropped(m.mlp_drop, tap('mlp_out', m.mlp(x, ctx)), ctx))))
  }) as Block
}

export interface StackParts {
  blocks: readonly Layer[]
  ln_final?: Layer
}
export type Stack = Module<StackParts>
/** Blocks one after the other, and a last norm where there is one: an encoder, or a decoder with its memory in `ctx`. */
export function stack(o: { blocks: readonly Layer[]; norm?: Layer }): Stack {
  checkOptions('stack', o, ['blocks', 'norm'])
  return module({ blocks: o.blocks, ln_final: o.norm } as StackParts, (m, x, ctx) => {
    for (const block of m.blocks) x = block(x, ctx)
    return m.ln_final ? m.ln_final(x) : x
  }) as Stack
}

export interface EncoderDecoderParts {
  encoder: Layer
  decoder: Layer
}
/**
 * (source, target, ctx) → what the decoder makes of the target [batch, position, dModel]. `ctx.memoryMask` hides source
 * positions from the encoder and from cross-attention, `ctx.mask` target positions; offset, positions and cache are the
 * decoder's. With `ctx.memory` the encoder does not run again.
 */
export function encoderDecoder(
  o: EncoderDecoderParts,
): Module<EncoderDecoderParts, [source: Tensor, target: Tensor, ctx?: Context]> {
  checkOptions('encoderDecoder', o, ['encoder', 'decoder'])
  return module(
    { encoder: o.encoder, decoder: o.decoder },
    (m, source: Tensor, target: Tensor, ctx: Context = {}) => {
      const memory = ctx.memory ?? m.encoder(source, { mask: ctx.memoryMask, key: ctx.key })
      return m.decoder(target, { ...ctx, memory })
    },
  ) as Module<EncoderDecoderParts, [source: Tensor, target: Tensor, ctx?: Context]>
}
