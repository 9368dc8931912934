/**
 * TensorFlow.js: the context that both compute in, and tensors that pass over. The optional peer is loaded when a backend is
 * made, never before; its engine is neither used nor changed.
 */
import { BackendError, type Precision } from '@heed/tensor'

export interface OpenContext {
  readonly gl: WebGL2RenderingContext
  /** Gives back what was made beside the context, which belongs to the page. */
  release(): void
}

const NO_WEBGL2 =
  'webgl: there is no WebGL2 here (Node has none; a browser may have switched it off, see chrome://gpu); use cpu()'

/** The WebGL2 context of tfjs on this page, made if there is none; a lost one is replaced. */
export async function openContext(precision: Precision): Promise<OpenContext> {
  // without it there is no reason to load anything
  if (typeof WebGL2RenderingContext === 'undefined') throw new BackendError(NO_WEBGL2)
  const [core, backend] = await load()
  if (core.env().getNumber('WEBGL_VERSION') !== 2) throw new BackendError(NO_WEBGL2)
  let context: InstanceType<typeof backend.GPGPUContext>
  try {
    context = new backend.GPGPUContext()
  } catch (error) {
    throw new BackendError(
      `webgl: TensorFlow.js cannot open a WebGL2 context: ${error instanceof Error ? error.message : String(error)}; use cpu()`,
      { cause: error },
    )
  }
  // its type says WebGL1 for both versions
  const gl = context.gl as unknown as WebGL2RenderingContext
  // half floats are kept as whole numbers, which every WebGL2 renders
  if (precision === 'f32' && !gl.getExtension('EXT_color_buffer_float')) {
    context.dispose()
    throw new BackendError(
      "webgl: this GPU cannot render float32 (EXT_color_buffer_float is missing); ask for webgl({ precision: 'f16' }), or use cpu()",
    )
  }
  return {
    gl,
    release() {
      if (!gl.isContextLost()) context.dispose()
    },
  }
}

type Core = typeof import('@tensorflow/tfjs-core')
type Webgl = typeof import('@tensorflow/tfjs-backend-webgl')

async function load(): Promise<[Core, Webgl]> {
  try {
    return await Promise.all([import('@tensorflow/tfjs-core'), import('@tensorflow/tfjs-backend-webgl')])
  } catch (error) {
    throw new BackendError(
      'webgl: TensorFlow.js cannot be loaded; npm install @tensorflow/tfjs-core @tensorflow/tfjs-backend-webgl',
      { cause: error },
    )
  }
}
