/**
 * The grammar of tap names: one vocabulary for activations, edits, gradients and errors. TransformerLens's spelling is
 * accepted where it means the same value, and refused with the reason where it does not.
 */
import { TapError } from './errors.js'

/** The field's words for what a transformer computes. */
export const tapWords = [
  'embed',
  'pos_embed',
  'type_embed',
  'ln_embed',
  'resid_pre',
  'resid_mid',
  'resid_post',
  'ln1',
  'ln2',
  'ln_final',
  'q',
  'k',
  'v',
  'rot_q',
  'rot_k',
  'scores',
  'pattern',
  'z',
  'result',
  'attn_out',
  'mlp_pre',
  'mlp_post',
  'mlp_out',
  'logits',
  'pooler',
] as const
export type TapWord = (typeof tapWords)[number]

type AttnWord = 'q' | 'k' | 'v' | 'rot_q' | 'rot_k' | 'scores' | 'pattern' | 'z' | 'result'
type BlockWord =
  | 'resid_pre'
  | 'resid_mid'
  | 'resid_post'
  | 'ln1'
  | 'ln2'
  | 'attn_out'
  | 'mlp_pre'
  | 'mlp_post'
  | 'mlp_out'
type TopWord = 'embed' | 'pos_embed' | 'type_embed' | 'ln_embed' | 'ln_final' | 'logits' | 'pooler'

/** Own taps: augment this interface, `interface OwnTaps { 'my_layer.gate': true }`. */
// biome-ignore lint/suspicious/noEmptyInterface: filled by users through declaration merging
export interface OwnTaps {}

/** What is wrong with a tap name, as a readable type; the name itself when nothing is. */
export type Check<S extends string> = S extends keyof OwnTaps
  ? S
  : string extends S
    ? S
    : S extends `${string}hook_${string}`
      ? S
      : S extends `${string}attn.${infer W}`
        ? W extends AttnWord
          ? S
          : W extends `${string}.${string}`
            ? S
            : `attn has no '${W}': q k v rot_q rot_k scores pattern z result`
        : S extends `${string}blocks.${string}.${infer W}`
          ? W extends BlockWord
            ? S
            : W extends `${string}.${string}`
              ? S
              : `a block has no '${W}': resid_pre resid_mid resid_post ln1 ln2 attn_out mlp_pre mlp_post mlp_out`
          : S extends TopWord
            ? S
            : S

/** Names that `keep` and `edit` take; `*` is one part. */
export type TapGlob =
  | TopWord
  | `blocks.${number | '*'}.${BlockWord}`
  | `blocks.${number | '*'}.attn.${AttnWord}`
  | (string & { readonly tapGlob?: never })

const ALIASES: Readonly<Record<string, string>> = {
  hook_embed: 'embed',
  hook_pos_embed: 'pos_embed',
  hook_resid_pre: 'resid_pre',
  hook_resid_mid: 'resid_mid',
  hook_resid_post: 'resid_post',
  hook_attn_out: 'attn_out',
  hook_mlp_out: 'mlp_out',
  'attn.hook_q': 'attn.q',
  'attn.hook_k': 'attn.k',
  'attn.hook_v': 'attn.v',
  'attn.hook_rot_q': 'attn.rot_q',
  'attn.hook_rot_k': 'attn.rot_k',
  'attn.hook_attn_scores': 'attn.scores',
  'attn.hook_pattern': 'attn.pattern',
  'attn.hook_z': 'attn.z',
  'attn.hook_result': 'attn.result',
  'mlp.hook_pre': 'mlp_pre',
  'mlp.hook_post': 'mlp_post',
}
const REFUSED: Readonly<Record<string, string>> = {
  'ln1.hook_normalized': "it is x/σ before gain and bias; 'ln1' here is the norm's output",
  'ln2.hook_normalized': "it is x/σ before gain and bias; 'ln2' here is the norm's output",
  'ln_final.hook_normalized': "it is x/σ before gain and bias; 'ln_final' here is the norm's output",
  'ln1.hook_scale': 'σ is not tapped; compute it from resid_pre',
  'ln2.hook_scale': 'σ is not tapped; compute it from resid_mid',
  'ln_final.hook_scale': 'σ is not tapped; compute it from the last resid_post',
  'mlp.hook_pre_linear': 'the linear branch of a gated MLP is not tapped',
}

/** The Heed name of a tap given in either spelling. */
export function canonicalTap(name: string): string {
  if (!name.includes('hook_')) return name
  const block = /^((?:encoder\.|decoder\.)?blocks\.(?:\d+|\*)\.)?(.*)$/.exec(name)
  const prefix = block?.[1] ?? ''
  const word = block?.[2] ?? name
  const reason = REFUSED[word]
  if (reason) throw new TapError(`tap '${name}': ${reason}`)
  const alias = ALIASES[word]
  if (!alias)
    throw new TapError(
      `tap '${name}' is no TransformerLens name that Heed knows; write it in Heed's words: ${tapWords.join(' ')}`,
    )
  return prefix + alias
}
