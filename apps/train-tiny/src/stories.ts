/**
 * The project's own stories: short tales in simple past from templates, written so that the next word often
 * has to be looked up further back (who is there, who gave what to whom, where a thing was put).
 * Who gives and who is named first are drawn independently: where the first-named always gives, a small model
 * learns the place in the sentence and not the name. No corpus of others' text is used.
 */
import { hash32, type Rng, rng } from './rng.js'

export const NAMES = {
  she: [
    'Mary',
    'Anna',
    'Lucy',
    'Emma',
    'Jane',
    'Rose',
    'Alice',
    'Sarah',
    'Kate',
    'Helen',
    'Lily',
    'Ruth',
    'Clara',
    'Grace',
    'Ellen',
    'Martha',
    'Susan',
    'Julia',
    'Nora',
    'Amy',
  ],
  he: [
    'John',
    'Tom',
    'James',
    'Peter',
    'Paul',
    'Sam',
    'Ben',
    'Henry',
    'George',
    'Jack',
    'Mark',
    'David',
    'Will',
    'Charles',
    'Robert',
    'Frank',
    'Daniel',
    'Luke',
    'Adam',
    'Max',
  ],
} as const
export const PLACES = [
  'store',
  'park',
  'school',
  'garden',
  'beach',
  'farm',
  'market',
  'river',
  'house',
  'library',
  'forest',
  'station',
  'kitchen',
  'church',
  'lake',
] as const
export const THINGS = [
  'drink',
  'ball',
  'book',
  'ring',
  'kite',
  'cake',
  'letter',
  'hat',
  'key',
  'basket',
  'flower',
  'lamp',
  'doll',
  'coin',
  'box',
  'apple',
  'boat',
  'cup',
  'map',
  'drum',
] as const
const COLOURS = ['red', 'blue', 'green', 'yellow', 'black', 'white', 'brown', 'gold'] as const
const SPOTS = [
  'under the bed',
  'behind the door',
  'in the box',
  'on the table',
  'under the tree',
  'in the drawer',
  'on the shelf',
  'near the window',
  'by the fire',
  'in the old barn',
] as const
const ANIMALS = ['dog', 'cat', 'bird', 'horse', 'rabbit', 'mouse', 'duck', 'fox', 'bear', 'fish'] as const
const WEATHER = ['sunny', 'cold', 'warm', 'rainy', 'windy', 'quiet'] as const
const FEELINGS = ['happy', 'sad', 'tired', 'proud', 'angry', 'afraid', 'hungry', 'surprised'] as const
const FOODS = ['bread', 'soup', 'pie', 'milk', 'cheese', 'fish', 'eggs', 'honey'] as const

type Person = { name: string; they: 'she' | 'he'; them: 'her' | 'him'; their: 'her' | 'his' }

const she = (name: string): Person => ({ name, they: 'she', them: 'her', their: 'her' })
const he = (name: string): Person => ({ name, they: 'he', them: 'him', their: 'his' })
const PEOPLE: readonly Person[] = [...NAMES.she.map(she), ...NAMES.he.map(he)]
export const ALL_NAMES: readonly string[] = PEOPLE.map((p) => p.name)

/** One draw of the sentence that the name test asks about. */
export interface GiveDraw {
  first: string
  second: string
  place: string
  thing: string
}

/** The demo sentence: never generated, and not one of the draws of the name test either. */
export const DEMO: GiveDraw = { first: 'Mary', second: 'John', place: 'store', thing: 'drink' }

/**
 * True for the draws that training never sees in a giving sentence, whoever of the two gives: an eighth of all
 * (names as an unordered pair, place, thing), and the demo sentence.
 */
export function isHeldOut(d: GiveDraw): boolean {
  const pair = [d.first, d.second].sort().join(' ')
  const demo = [DEMO.first, DEMO.second].sort().join(' ')
  if (pair === demo && d.place === DEMO.place && d.thing === DEMO.thing) return true
  return hash32(`${pair}|${d.place}|${d.thing}`) % 8 === 0
}

export const article = (noun: string): string => (/^[aeiou]/.test(noun) ? `an ${noun}` : `a ${noun}`)
const capital = (s: string): string => s.charAt(0).toUpperCase() + s.slice(1)

/** "When A and B went to the P, B gave a T to": the right next word is A; with `first`, A gives and B is right. */
export function namePrompt(
  d: GiveDraw,
  giver: 'first' | 'second' = 'second',
): { prompt: string; right: string; wrong: string } {
  const [gives, right] = giver === 'second' ? [d.second, d.first] : [d.first, d.second]
  const prompt = `When ${d.first} and ${d.second} went to the ${d.place}, ${gives} gave ${article(d.thing)} to`
  return { prompt, right, wrong: gives }
}

/** The unseen draws of the name test. */
export function nameTestDraws(count: number, seed = 7): GiveDraw[] {
  const r = rng(seed)
  const draws: GiveDraw[] = []
  while (draws.length < count) {
    const [first, second] = r.sample(ALL_NAMES, 2) as [string, string]
    const draw = { first, second, place: r.pick(PLACES), thing: r.pick(THINGS) }
    const isDemo =
      draw.place === DEMO.place && draw.thing === DEMO.thing && [first, second].sort().join() === 'John,Mary'
    if (isHeldOut(draw) && !isDemo) draws.push(draw)
  }
  return draws
}

interface Cast {
  r: Rng
  a: Person
  b: Person
  giver: Person
  taker: Person
  place: string
  thing: string
}

function cast(r: Rng): Cast {
  for (;;) {
    const [a, b] = r.sample(PEOPLE, 2) as [Person, Person]
    const place = r.pick(PLACES)
    const thing = r.pick(THINGS)
    if (isHeldOut({ first: a.name, second: b.name, place, thing })) continue
    const swap = r.next() < 0.5
    return { r, a, b, giver: swap ? b : a, taker: swap ? a : b, place, thing }
  }
}

const went = ['went to', 'walked to', 'came to', 'got to', 'ran to', 'were at', 'met at'] as const
const gave = ['gave', 'handed', 'passed', 'showed', 'offered'] as const

/** A giving sentence. The prompt of the name test is the first opening with the first verb. */
function giving({ r, a, b, giver, taker, place, thing }: Cast): string {
  const verb = r.next() < 0.5 ? 'gave' : r.pick(gave)
  const act =
    r.next() < 0.75
      ? `${giver.name} ${verb} ${article(thing)} to ${taker.name}.`
      : `${giver.name} ${verb} ${taker.name} ${article(thing)}.`
  const go = r.next() < 0.4 ? 'went to' : r.pick(went)
  switch (r.below(6)) {
    case 0:
    case 1:
      return `When ${a.name} and ${b.name} ${go} the ${place}, ${act}`
    case 2:
      return `${a.name} and ${b.name} ${go} the ${place}. ${act}`
    case 3:
      return `After ${a.name} and ${b.name} ${go} the ${place}, ${act}`
    case 4:
      return `One day ${a.name} and ${b.name} ${go} the ${place}. ${act}`
    default:
      return `${a.name} ${r.pick(['saw', 'met', 'found'])} ${b.name} at the ${place}. ${act}`
  }
}

type Template = (c: Cast) => string[]

const TEMPLATES: readonly Template[] = [
  (c) => {
    const { giver, taker, thing, r } = c
    const colour = r.pick(COLOURS)
    return [
      giving(c),
      `${taker.name} was ${r.pick(['happy', 'surprised'])} and thanked ${giver.name}.`,
      `"What a fine ${thing}," said ${taker.name}. "It is ${colour}. I like ${colour}."`,
      `So ${taker.name} took the ${colour} ${thing} home.`,
    ]
  },
  (c) => {
    const { giver, taker, thing, place } = c
    return [
      giving(c),
      `${taker.name} looked at the ${thing} and smiled.`,
      `"Thank you, ${giver.name}," said ${taker.name}.`,
      `"You are welcome, ${taker.name}," said ${giver.name}.`,
      `Then ${giver.name} and ${taker.name} left the ${place}.`,
    ]
  },
  (c) => {
    const { giver, taker } = c
    return [giving(c), `But ${taker.name} did not want it, so ${taker.name} gave it back to ${giver.name}.`]
  },
  (c) => {
    const second = cast(c.r)
    return [giving(c), giving(second)]
  },
  ({ r, a, thing }) => {
    const colour = r.pick(COLOURS)
    const spot = r.pick(SPOTS)
    return [
      `${a.name} had a ${colour} ${thing}.`,
      `${capital(a.they)} put the ${colour} ${thing} ${spot}.`,
      `Then ${a.name} went out to play.`,
      `"Where is the ${colour} ${thing}?" asked ${a.their} mother.`,
      `"The ${colour} ${thing} is ${spot}," said ${a.name}.`,
    ]
  },
  ({ r, a, b, thing }) => {
    const other = r.pick(THINGS.filter((t) => t !== thing))
    const [s1, s2] = r.sample(SPOTS, 2)
    const asked = r.next() < 0.5
    return [
      `${a.name} put the ${thing} ${s1}. ${b.name} put the ${other} ${s2}.`,
      `Where is the ${asked ? thing : other}? The ${asked ? thing : other} is ${asked ? s1 : s2}.`,
      `Where is the ${asked ? other : thing}? The ${asked ? other : thing} is ${asked ? s2 : s1}.`,
    ]
  },
  ({ r, a, b }) => {
    const [x, y] = r.sample(ANIMALS, 2)
    const [c1, c2] = r.sample(COLOURS, 2)
    const first = r.next() < 0.5
    return [
      `${a.name} had a ${c1} ${x}. ${b.name} had a ${c2} ${y}.`,
      `The ${x} was ${c1} and the ${y} was ${c2}.`,
      first
        ? `"I love my ${x}," said ${a.name}. "I love my ${y}," said ${b.name}.`
        : `"I love my ${y}," said ${b.name}. "I love my ${x}," said ${a.name}.`,
    ]
  },
  ({ r, a, place }) => {
    const animal = r.pick(ANIMALS)
    return [
      `Once there was a little ${animal} who lived near the ${place}.`,
      `Every day the ${animal} went to the ${place} to look for food.`,
      `One ${r.pick(WEATHER)} morning ${a.name} saw the ${animal} and gave it some ${r.pick(FOODS)}.`,
      `The ${animal} was ${r.pick(['happy', 'surprised', 'proud'])}, and from that day the ${animal} and ${a.name} were friends.`,
    ]
  },
  ({ r, a, b, place }) => {
    const feeling = r.pick(FEELINGS)
    return [
      `It was a ${r.pick(WEATHER)} day. ${a.name} was ${feeling}.`,
      `"Why are you ${feeling}, ${a.name}?" asked ${b.name}.`,
      `"I am ${feeling} because I lost my way to the ${place}," said ${a.name}.`,
      `"I know the way to the ${place}," said ${b.name}. "Come with me."`,
      `So ${a.name} and ${b.name} went to the ${place} together.`,
    ]
  },
  ({ r, a, b, thing }) => {
    const colour = r.pick(COLOURS)
    const spot = r.pick(SPOTS)
    return [
      `${a.name} lost ${a.their} ${colour} ${thing}.`,
      `${capital(a.they)} looked for the ${thing} all day. ${capital(a.they)} was very sad.`,
      `"I will help you," said ${b.name}.`,
      `${b.name} found the ${colour} ${thing} ${spot} and gave it to ${a.name}.`,
      `"My ${thing}!" said ${a.name}. "Thank you, ${b.name}!"`,
    ]
  },
  ({ r, a, b, place }) => {
    const [f1, f2] = r.sample(FOODS, 2)
    const first = r.next() < 0.5
    return [
      `${a.name} and ${b.name} were hungry. They went to the ${place} to eat.`,
      `${a.name} ate ${f1} and ${b.name} ate ${f2}.`,
      first
        ? `${a.name} liked the ${f1}, and ${b.name} liked the ${f2}.`
        : `${b.name} liked the ${f2}, and ${a.name} liked the ${f1}.`,
    ]
  },
  ({ r, a, b }) => {
    const [p1, p2] = r.sample(PLACES, 2)
    const first = r.next() < 0.5
    return [
      `${a.name} went to the ${p1}. ${b.name} went to the ${p2}.`,
      first
        ? `Where is ${a.name}? ${a.name} is at the ${p1}.`
        : `Where is ${b.name}? ${b.name} is at the ${p2}.`,
      first
        ? `Where is ${b.name}? ${b.name} is at the ${p2}.`
        : `Where is ${a.name}? ${a.name} is at the ${p1}.`,
    ]
  },
  ({ r, a, b, thing }) => [
    `${a.name} and ${b.name} made ${article(thing)} together.`,
    `It took them all ${r.pick(['day', 'morning', 'night', 'week'])}.`,
    `When the ${thing} was done, ${a.name} was ${r.pick(['happy', 'tired', 'proud'])} and ${b.name} was ${r.pick(['happy', 'tired', 'proud'])} too.`,
    `"This is the best ${thing} of all," said ${r.next() < 0.5 ? a.name : b.name}.`,
  ],
  ({ r, a, b, place }) => {
    const old = r.pick([
      'old man',
      'old woman',
      'young girl',
      'little boy',
      'king',
      'queen',
      'farmer',
      'teacher',
    ])
    return [
      `Once upon a time there was ${article(old)} who lived in a small house by the ${place}.`,
      `The ${old} had two friends, ${a.name} and ${b.name}.`,
      `Every ${r.pick(['morning', 'evening', 'week', 'summer'])} ${a.name} and ${b.name} came to see the ${old}.`,
      `The ${old} told them stories, and ${a.name} and ${b.name} listened until it was dark.`,
    ]
  },
  ({ r, a, b, thing }) => {
    const price = r.pick(['one', 'two', 'three', 'four', 'five', 'ten'])
    return [
      `${a.name} wanted to buy ${article(thing)}. The ${thing} cost ${price} coins.`,
      `${capital(a.they)} had no coins, so ${a.they} asked ${b.name} for ${price} coins.`,
      `${b.name} gave ${a.them} ${price} coins, and ${a.name} bought the ${thing}.`,
      `The next day ${a.name} gave ${price} coins back to ${b.name}.`,
    ]
  },
]

/** One story, as one paragraph. A quarter of them are a giving sentence and what follows it at once. */
export function story(r: Rng): string {
  const template = r.next() < 0.25 ? TEMPLATES[r.below(4)] : TEMPLATES[r.below(TEMPLATES.length)]
  return (template as Template)(cast(r)).join(' ')
}

/** `count` stories of one seed, one a line. */
export function stories(seed: number, count: number): string[] {
  const r = rng(seed)
  return Array.from({ length: count }, () => story(r))
}

/** Giving sentences alone, three to five in a row, each with its own people: the name test's own lesson, and nothing else. */
export function giveChains(seed: number, count: number): string[] {
  const r = rng(seed)
  return Array.from({ length: count }, () =>
    Array.from({ length: r.between(3, 5) }, () => giving(cast(r))).join(' '),
  )
}

/**
 * Single giving sentences in few words. `direct` of them say "gave B a T" and the others "gave a T to B": in the first
 * form the giver stands right before the verb, so that "the other one" is learned there first.
 */
export function plainGives(seed: number, count: number, direct: number): string[] {
  const r = rng(seed)
  return Array.from({ length: count }, () => {
    const { a, b, giver, taker, place, thing } = cast(r)
    const act =
      r.next() < 1 - direct
        ? `${giver.name} gave ${article(thing)} to ${taker.name}.`
        : `${giver.name} gave ${taker.name} ${article(thing)}.`
    return r.next() < 0.67
      ? `When ${a.name} and ${b.name} went to the ${place}, ${act}`
      : `${a.name} and ${b.name} went to the ${place}. ${act}`
  })
}
