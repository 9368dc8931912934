/**
 * GLSL that every program shares. GPUs promise little about exp, log, sin, cos and tanh (Vulkan allows sin an error of
 * 2⁻¹¹, and log near 1 one of 2⁻²¹), and tanh(100) is NaN on some: these are written out here, with errors of a few ulp on
 * every GPU. Not-a-number is found by its bits: compilers may fold x ≠ x to false, and a·0 to 0. GPUs may take numbers below
 * 2⁻¹²⁶ for 0, as operands and as results. A result so small is lost then; where such an operand decides about more (its order,
 * its logarithm, its root, a quotient), its bits are read: they are a whole number of 2⁻¹⁴⁹.
 */

interface Piece {
  readonly needs: readonly string[]
  readonly text: string
}

const pieces: Readonly<Record<string, Piece>> = {
  isNan: {
    needs: [],
    text: `bool isNan(float x) { return (floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u; }`,
  },
  // as a whole number in the order of floats; not for NaN
  orderOf: {
    needs: [],
    text: `int orderOf(float x) { int u = floatBitsToInt(x); return u < 0 ? -(u & 0x7fffffff) : u; }`,
  },
  below: {
    needs: ['isNan', 'orderOf'],
    text: `bool below(float a, float b) { return !isNan(a) && !isNan(b) && orderOf(a) < orderOf(b); }`,
  },
  // below 2⁻¹²⁶ and not 0; and what such a number is times 2¹⁴⁹
  isSmall: {
    needs: [],
    text: `bool isSmall(float x) { return (floatBitsToUint(x) & 0x7fffffffu) - 1u < 0x7fffffu; }
float digitsOf(float x) { float y = float(floatBitsToUint(x) & 0x7fffffu); return floatBitsToInt(x) < 0 ? -y : y; }`,
  },
  ratioOf: {
    needs: ['isSmall'],
    text: `float ratioOf(float a, float b) {
  bool p = isSmall(a);
  bool q = isSmall(b);
  if (p && q) return digitsOf(a) / digitsOf(b);
  if (p) return digitsOf(a) * ${2 ** -75} / b * ${2 ** -74};
  if (q) return a * ${2 ** 100} / digitsOf(b) * ${2 ** 49}.0;
  return a / b;
}`,
  },
  sqrtOf: {
    needs: ['isSmall', 'NAN'],
    text: `float sqrtOf(float x) {
  if (floatBitsToUint(x) > 0x80000000u) return NAN;
  return isSmall(x) ? sqrt(2.0 * digitsOf(x)) * ${2 ** -75} : sqrt(x);
}`,
  },
  INF: { needs: [], text: `#define INF uintBitsToFloat(0x7f800000u)` },
  NAN: { needs: [], text: `#define NAN uintBitsToFloat(0x7fc00000u)` },
  // eˣ = 2ⁿ·eʳ with n = round(x·log₂e) and ln 2 in two parts; eʳ by its series up to r⁷/7! on |r| ≤ ln 2/2
  expOf: {
    needs: ['INF', 'isNan'],
    text: `float expOf(float x) {
  if (isNan(x)) return x;
  if (x > 88.8) return INF;
  if (x < -104.0) return 0.0;
  float n = floor(x * 1.44269504 + 0.5);
  float r = (x - n * 0.693359375) + n * 2.12194440e-4;
  float y = 1.0 + r * (1.0 + r * (0.5 + r * (1.66666667e-1 + r * (4.16666667e-2 + r * (8.33333333e-3 + r * (1.38888889e-3 + r * 1.98412698e-4))))));
  int k = int(n) / 2;
  int m = int(n) - k;
  return y * uintBitsToFloat(uint(k + 127) << 23) * uintBitsToFloat(uint(m + 127) << 23);
}`,
  },
  // x = 2ᵉ·m, m in [√½, √2); ln m = 2 artanh((m − 1)/(m + 1)) by its series
  logOf: {
    needs: ['INF', 'NAN', 'isNan', 'isSmall'],
    text: `float logOf(float x) {
  if ((floatBitsToUint(x) << 1) == 0u) return -INF;
  if (isNan(x) || floatBitsToInt(x) < 0) return NAN;
  if (x == INF) return x;
  float e = 0.0;
  if (isSmall(x)) { x = digitsOf(x); e = -149.0; }
  uint u = floatBitsToUint(x) + (0x3f800000u - 0x3f3504f3u);
  e += float(int(u >> 23) - 127);
  float m = uintBitsToFloat((u & 0x007fffffu) + 0x3f3504f3u);
  float s = (m - 1.0) / (m + 1.0);
  float z = s * s;
  float t = z * (6.66666667e-1 + z * (0.4 + z * (2.85714286e-1 + z * (2.22222222e-1 + z * 1.81818182e-1))));
  return e * 0.693145752 + ((2.0 * s + s * t) + e * 1.42860682e-6);
}`,
  },
  // the series near 0, where eˣ − 1 would cancel
  expm1Of: {
    needs: ['expOf'],
    text: `float expm1Of(float x) {
  if (abs(x) > 0.5) return expOf(x) - 1.0;
  return x + x * x * (0.5 + x * (1.66666667e-1 + x * (4.16666667e-2 + x * (8.33333333e-3 + x * (1.38888889e-3 + x * (1.98412698e-4 + x * (2.48015873e-5 + x * 2.75573192e-6)))))));
}`,
  },
  log1pOf: {
    needs: ['logOf'],
    text: `float log1pOf(float x) {
  if (!(abs(x) < 0.4)) return logOf(1.0 + x);
  float s = x / (2.0 + x);
  float z = s * s;
  return 2.0 * s * (1.0 + z * (3.33333333e-1 + z * (0.2 + z * (1.42857143e-1 + z * (1.11111111e-1 + z * 9.09090909e-2)))));
}`,
  },
  // x = n·π/2 + r: up to 12,000 with π/2 in three parts (n times the first two is exact), beyond by the 64 bits of x·2/π behind its quarter turns (Payne and Hanek,
  // 1983); then the minimax polynomials of Cephes on |r| ≤ π/4
  sinOf: {
    needs: ['NAN'],
    text: `const uint TURNS[8] = uint[8](0u, 0x28be60dbu, 0x9391054au, 0x7f09d5f4u, 0x7d4d3770u, 0x36d8a566u, 0x4f10e410u, 0x7f9458eau);
uvec2 wide(uint a, uint b) {
  uint low = (a >> 16) * (b & 0xffffu) + ((a & 0xffffu) * (b & 0xffffu) >> 16);
  uint mid = (a & 0xffffu) * (b >> 16) + (low & 0xffffu);
  return uvec2((a >> 16) * (b >> 16) + (low >> 16) + (mid >> 16), a * b);
}
float far(float x, out int n) {
  uint u = floatBitsToUint(x);
  uint m = (u << 8) | 0x80000000u;
  int e = int((u >> 23) & 255u) - 126;
  int i = e >> 5;
  e &= 31;
  uvec3 t = uvec3(TURNS[i], TURNS[i + 1], TURNS[i + 2]);
  if (e > 0) t = (t << e) | (uvec3(t.yz, TURNS[i + 3]) >> (32 - e));
  uvec2 p = wide(m, t.y);
  uint carry = wide(m, t.z).x;
  p.y += carry;
  p.x += m * t.x + (p.y < carry ? 1u : 0u);
  n = int(p.x >> 30);
  p.x &= 0x3fffffffu;
  bool over = p.x >= 0x20000000u;
  if (over) {
    n++;
    p = uvec2(0x40000000u - p.x - (p.y > 0u ? 1u : 0u), 0u - p.y);
  }
  float r = float(p.x) * 1.46291808e-9 + float(p.y) * 3.40612158e-19;
  if (x < 0.0) n = -n;
  return over != (x < 0.0) ? -r : r;
}
float quarter(float x, int turn) {
  if ((floatBitsToUint(x) & 0x7fffffffu) >= 0x7f800000u) return NAN;
  int n;
  float r;
  if (abs(x) > 12000.0) r = far(x, n);
  else {
    float whole = floor(x * 0.636619772 + 0.5);
    r = ((x - whole * 1.5703125) - whole * 4.83751297e-4) - whole * 7.54978995e-8;
    n = int(whole);
  }
  float z = r * r;
  int k = (n + turn) & 3;
  float y = (k & 1) == 0
    ? r + r * z * (-1.66666546e-1 + z * (8.33216087e-3 - z * 1.95152960e-4))
    : 1.0 - 0.5 * z + z * z * (4.16666456e-2 + z * (-1.38873163e-3 + z * 2.44331571e-5));
  return k >= 2 ? -y : y;
}
float sinOf(float x) { return quarter(x, 0); }
float cosOf(float x) { return quarter(x, 1); }`,
  },
  // Cephes' polynomial near 0, else 1 − 2/(e²ˣ + 1)
  tanhOf: {
    needs: ['expOf'],
    text: `float tanhOf(float x) {
  float a = abs(x);
  if (a < 0.625) {
    float z = x * x;
    return x + x * z * (-3.33332819e-1 + z * (1.33314422e-1 + z * (-5.37397156e-2 + z * (2.06390888e-2 - z * 5.70498873e-3))));
  }
  float y = 1.0 - 2.0 / (expOf(2.0 * a) + 1.0);
  return x < 0.0 ? -y : y;
}`,
  },
  // a polynomial near 0, 1 − e^(polynomial) further out, where 1 − erf is small
  erfOf: {
    needs: ['expOf', 'isSmall'],
    text: `float erfOf(float x) {
  if (isSmall(x)) return uintBitsToFloat((floatBitsToUint(x) & 0x80000000u) | uint(abs(digitsOf(x)) * 1.12837917 + 0.5));
  float t = abs(x);
  float s = x * x;
  if (t > 3.95) return x < 0.0 ? -1.0 : 1.0;
  if (t > 0.927734375) {
    float r = -1.72853470e-5 * t + 3.83197126e-4;
    float u = -3.88396438e-3 * t + 2.42546219e-2;
    r = r * s + u;
    r = r * t - 1.06777877e-1;
    r = r * t - 6.34846687e-1;
    r = r * t - 1.28717512e-1;
    r = r * t - t;
    r = 1.0 - expOf(r);
    return x < 0.0 ? -r : r;
  }
  float r = -5.96761703e-4;
  r = r * s + 4.99119423e-3;
  r = r * s - 2.67681349e-2;
  r = r * s + 1.12819925e-1;
  r = r * s - 3.76125336e-1;
  r = r * s + 1.28379166e-1;
  return r * x + x;
}`,
  },
  // IEEE 754's corners; whole exponents up to 64 by squaring; an exponent below 2⁻¹²⁶ does what 2⁻¹⁰⁰ does
  powOf: {
    needs: ['expOf', 'logOf', 'INF', 'NAN', 'isNan', 'isSmall'],
    text: `float powOf(float a, float b) {
  if (isSmall(b)) b = floatBitsToInt(b) < 0 ? -${2 ** -100} : ${2 ** -100};
  if (b == 0.0 || a == 1.0) return 1.0;
  if (isNan(a) || isNan(b)) return NAN;
  float size = abs(a);
  if (abs(b) == INF) return size == 1.0 ? 1.0 : (size > 1.0) == (b > 0.0) ? INF : 0.0;
  bool whole = floor(b) == b;
  bool odd = whole && abs(b) < 16777216.0 && (int(b) & 1) == 1;
  float sign = odd && floatBitsToInt(a) < 0 ? -1.0 : 1.0;
  if (floatBitsToUint(size) == 0u) return b > 0.0 ? sign * 0.0 : sign * INF;
  if (size == INF) return b > 0.0 ? sign * INF : sign * 0.0;
  if (floatBitsToInt(a) < 0 && !whole) return NAN;
  if (whole && abs(b) <= 64.0 && !isSmall(size)) {
    float y = 1.0;
    float s = size;
    for (int n = int(abs(b)); n > 0; n >>= 1) { if ((n & 1) == 1) y *= s; s *= s; }
    return sign * (b < 0.0 ? 1.0 / y : y);
  }
  return sign * expOf(b * logOf(size));
}`,
  },
  // whole numbers: truncated towards 0, and 0 where the divisor is 0
  divOf: {
    needs: [],
    text: `int divOf(int a, int b) {
  if (b == 0) return 0;
  uint n = a < 0 ? uint(-a) : uint(a);
  uint d = b < 0 ? uint(-b) : uint(b);
  int q = int(n / d);
  return (a < 0) != (b < 0) ? -q : q;
}`,
  },
  // towards 0 and modulo 2³², as typed arrays convert; what is not finite is 0. int() of 2³¹ and more may be anything
  wholeOf: {
    needs: [],
    text: `int wholeOf(float x) {
  uint u = floatBitsToUint(x);
  int e = int((u >> 23) & 255u) - 150;
  if (e < 8) return int(x);
  if (e > 31) return 0;
  int n = int(((u & 0x7fffffu) | 0x800000u) << e);
  return x < 0.0 ? -n : n;
}`,
  },
  // IEEE binary16 and bfloat16: nearest, ties to even, subnormals, overflow to infinity
  halfOf: {
    needs: [],
    text: `int halfOf(float x) {
  uint u = floatBitsToUint(x);
  uint sign = (u >> 16) & 0x8000u;
  uint a = u & 0x7fffffffu;
  uint h;
  if (a > 0x7f800000u) h = 0x7e00u | ((a >> 13) & 0x3ffu);
  else if (a >= 0x47800000u) h = 0x7c00u;
  else if (a >= 0x38800000u) h = (a - 0x38000000u + 0xfffu + ((a >> 13) & 1u)) >> 13;
  else if (a < 0x33000000u) h = 0u;
  else {
    uint shift = 126u - (a >> 23);
    uint m = (a & 0x7fffffu) | 0x800000u;
    h = (m + (1u << (shift - 1u)) - 1u + ((m >> shift) & 1u)) >> shift;
  }
  return int((sign | h) << 16) >> 16;
}`,
  },
  ofHalf: {
    needs: [],
    text: `float ofHalf(int v) {
  uint h = uint(v) & 0xffffu;
  uint sign = (h & 0x8000u) << 16;
  uint e = (h >> 10) & 31u;
  uint m = h & 0x3ffu;
  if (e == 31u) return uintBitsToFloat(sign | 0x7f800000u | (m << 13));
  if (e > 0u) return uintBitsToFloat(sign | ((e + 112u) << 23) | (m << 13));
  float y = float(m) * 5.9604644775390625e-8;
  return sign == 0u ? y : -y;
}`,
  },
  brainOf: {
    needs: [],
    text: `int brainOf(float x) {
  uint u = floatBitsToUint(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return int(((u >> 16) | 0x40u) << 16) >> 16;
  return int(u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
}`,
  },
  ofBrain: {
    needs: [],
    text: `float ofBrain(int v) { return uintBitsToFloat(uint(v) << 16); }`,
  },
}
/** Names by which a piece is found in a program's text; `cosOf` comes with `sinOf`. */
const found: readonly (readonly [string, RegExp])[] = Object.keys(pieces).map((name) => [
  name,
  name === 'sinOf' ? /\b(sin|cos)Of\b/ : new RegExp(`\\b${name}\\b`),
])

/** The pieces that a program's text uses, each behind what it needs. */
export function libraryFor(text: string): string {
  const out = new Set<string>()
  const add = (name: string): void => {
    for (const other of pieces[name].needs) add(other)
    out.add(name)
  }
  for (const [name, pattern] of found) if (pattern.test(text)) add(name)
  return [...out].map((name) => pieces[name].text).join('\n')
}
