/** Sentence vectors of 32 sentences by all-MiniLM-L6-v2: the one case whose weights are real, and must be fetched. */
import { minilmFolder, minilmMissing, readFloats, sentenceVector } from '../minilm.js'
import { encodeIds } from '../tokens.js'
import type { Case } from '../work.js'

export const SENTENCES: readonly string[] = [
  'A man is eating food.',
  'Someone is having a meal in the kitchen.',
  'The river bank was flooded after a week of rain.',
  'She opened an account at the bank on the corner.',
  'How do I reset the password of my email account?',
  'Please send me the invoice for the last two months before Friday.',
  'The train to Vienna leaves at nine in the morning and arrives shortly after noon.',
  'It rained.',
  'A matrix product reads every weight once and writes every sum once.',
  'Attention lets every token look at every token that came before it.',
  'The cat sat on the mat, and the dog lay down beside the fire.',
  'Two thirds of the bridges in the old town were built before 1850.',
  'What is the capital of Portugal?',
  'Lisbon has been the capital of Portugal since the thirteenth century, except for a few years when the court lived in Rio de Janeiro.',
  'Boil the potatoes for twenty minutes, drain them, and mash them with butter and warm milk.',
  'The committee will publish its report next spring.',
  'Our shop is closed on Sundays and on public holidays.',
  'He has played the violin since he was six years old.',
  'Nobody knew who had left the window open.',
  'The new law gives tenants the right to paint their walls, to keep a small dog, and to leave with one month of notice.',
  'Bees find their way home by the position of the sun.',
  'Thank you for your order; it will be shipped within two working days.',
  'The telescope found water vapour in the atmosphere of a planet that circles a small red star.',
  'Is there a pharmacy near the station?',
  'Turn left at the church and follow the road until you see a white house.',
  'My grandmother used to tell us stories about the winter of 1947.',
  'The program stops with an error when the file does not exist.',
  'Prices rose by three per cent last year, less than most economists had expected.',
  'Wash dark colours separately at thirty degrees.',
  'The goalkeeper saved two penalties and was carried off the field by his team.',
  'Once upon a time there was a miller who had three sons.',
  'We should leave now if we want to catch the last bus, because the walk to the stop takes longer than the map says and it is getting dark.',
]

/** Checked: the first, the shortest, the longest and the last. */
const CHECKED = [0, 7, 13, 31]
const WIDTH = 384

export const sentenceCases: readonly Case[] = [
  {
    name: 'embed/minilm/32',
    work: { kind: 'embed', texts: SENTENCES, width: WIDTH },
    flops: 0,
    missing: minilmMissing,
    inputs: () => readFloats(`${minilmFolder()}/model.safetensors`),
    expected(weights) {
      const ids = encodeIds(minilmFolder(), SENTENCES)
      return {
        chunks: CHECKED.map((i) => ({ at: i * WIDTH, values: sentenceVector(weights, ids[i]) })),
        size: SENTENCES.length * WIDTH,
        tolerance: 1e-4,
      }
    },
  },
]
