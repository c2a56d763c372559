/* SPDX-License-Identifier: Apache-2.0
 *
 * The expansions of math.def, written once and included twice by math.c: with the operations below as C arithmetic
 * (what scalar_eval computes) and as builders of kernel expressions (what kernel_expand_math inserts). So both give
 * the same bits. Only basic scalar ops, no branches, any number of lanes. Polynomials are minimax fits with f32
 * coefficients. Clamps are selects, which keep a NaN.
 */

#define POLY2(x, c0, c1, c2) FMA(FMA(F(c2), x, F(c1)), x, F(c0))
#define POLY4(x, c0, c1, c2, c3, c4) FMA(FMA(POLY2(x, c2, c3, c4), x, F(c1)), x, F(c0))
#define POLY6(x, c0, c1, c2, c3, c4, c5, c6) FMA(FMA(POLY4(x, c2, c3, c4, c5, c6), x, F(c1)), x, F(c0))
#define POLY8(x, c0, c1, c2, c3, c4, c5, c6, c7, c8) FMA(FMA(POLY6(x, c2, c3, c4, c5, c6, c7, c8), x, F(c1)), x, F(c0))

#define ABS_SIGN_OF(value, x) AS_F32(OR(AS_I32(value), AND(AS_I32(x), I(INT32_MIN)))) /* value >= 0 */
#define POWER_OF_2(i) AS_F32(SHIFT_LEFT(ADD(i, I(127)), I(23)))

/* e^(x + low) for a low that is small beside x: x = n ln 2 + r, with a second float of r. Adding 1.5 * 2^23 rounds to
 * an integer, which then stands in the low bits. The factor 2^n is applied in two halves: both exist, and a denormal
 * result is rounded once. */
FUNCTION2(exp_sum, x, low) {
    LET(F32, capped, SELECT(LT(F(89.0f), x), F(89.0f), x));
    LET(F32, c, SELECT(LT(capped, F(-104.0f)), F(-104.0f), capped));
    LET(F32, shifted, FMA(c, F(0x1.715476p0f), F(0x1.8p23f)));
    LET(F32, n, SUB(shifted, F(0x1.8p23f)));
    LET(F32, r, FMA(n, F(-0x1.62e43p-1f), c)); /* exact */
    LET(F32, r_low, FMA(n, F(0x1.05c61p-29f), low));
    LET(F32, q, POLY4(r, 0x1p-1f, 0x1.5554dcp-3f, 0x1.5554e8p-5f, 0x1.120c8ep-7f, 0x1.6d4ea6p-10f));
    LET(F32, s, ADD(r, F(1.0f)));
    LET(F32, s_low, FMA(MUL(r, r), q, SUB(r, SUB(s, F(1.0f)))));
    LET(F32, p, ADD(s, FMA(r_low, ADD(s, s_low), s_low)));
    LET(I32, i, SUB(AS_I32(shifted), I(0x4b400000)));
    LET(I32, half, SHIFT_RIGHT(i, I(1)));
    return MUL(MUL(p, POWER_OF_2(half)), POWER_OF_2(SUB(i, half)));
}

FUNCTION1(exp, x) {
    return CALL2(exp_sum, x, F(0.0f));
}

/* x = 2^e m with m in [0.7071, 1.4142): e ln 2 + f - f^2/2 + f^3 P(f) with f = m - 1; the sum of e ln2_high (exact)
 * and f keeps its rounding error. */
FUNCTION1(log, x) {
    LET(BOOL, tiny, LT(x, F(0x1p-126f)));
    LET(I32, bits, AS_I32(SELECT(tiny, MUL(x, F(0x1p23f)), x)));
    LET(I32, e, SHIFT_RIGHT(SUB(bits, I(0x3f3504f3)), I(23)));
    LET(F32, f, SUB(AS_F32(SUB(bits, SHIFT_LEFT(e, I(23)))), F(1.0f)));
    LET(F32, n, ADD(TO_F32(e), SELECT(tiny, F(-23.0f), F(0.0f))));
    LET(F32, p,
        POLY8(f, 0x1.555554p-2f, -0x1.ffffe6p-3f, 0x1.999d2cp-3f, -0x1.55628cp-3f, 0x1.23ddf4p-3f, -0x1.fbbddp-4f,
              0x1.dc7adp-4f, -0x1.ddc016p-4f, 0x1.2cb776p-4f));
    LET(F32, rest, MUL(MUL(f, f), FMA(f, p, F(-0.5f))));
    LET(F32, high, MUL(n, F(0x1.62e4p-1f)));
    LET(F32, sum, ADD(high, f));
    LET(F32, low, FMA(n, F(0x1.7f7d1cp-20f), SUB(f, SUB(sum, high))));
    LET(F32, finite, SELECT(LT(x, F(INFINITY)), ADD(sum, ADD(rest, low)), x));
    return SELECT(EQ(x, F(0.0f)), F(-INFINITY), SELECT(LT(x, F(0.0f)), F(NAN), finite));
}

/* Near 0 an odd polynomial, else 1 - 2 / (e^2|x| + 1). */
FUNCTION1(tanh, x) {
    LET(F32, a, ABS(x));
    LET(F32, t, MUL(a, a));
    LET(F32, p, POLY4(t, -0x1.555552p-2f, 0x1.110e14p-3f, -0x1.b925e6p-5f, 0x1.580e34p-6f, -0x1.8fd06p-8f));
    LET(F32, e, CALL2(exp_sum, ADD(a, a), F(0.0f)));
    LET(F32, far, SUB(F(1.0f), DIV(F(2.0f), ADD(e, F(1.0f)))));
    return ABS_SIGN_OF(SELECT(LT(a, F(0.625f)), FMA(MUL(a, t), p, a), far), x);
}

/* Below 1 an odd polynomial, else 1 - e^-g with a polynomial g. */
FUNCTION1(erf, x) {
    LET(F32, a, ABS(x));
    LET(F32, t, MUL(a, a));
    LET(F32, p,
        POLY6(t, 0x1.06eba8p-3f, -0x1.81274p-2f, 0x1.ce2d52p-4f, -0x1.b7fec4p-6f, 0x1.542fecp-8f, -0x1.a5197ap-11f,
              0x1.4c5cb4p-14f));
    LET(F32, c, SELECT(LT(F(4.0f), a), F(4.0f), a));
    LET(F32, g,
        POLY8(c, -0x1.313174p-12f, 0x1.214f8ap0f, 0x1.439734p-1f, 0x1.c2314ap-4f, -0x1.af5b2ep-6f, 0x1.35d7dcp-8f,
              -0x1.357426p-11f, 0x1.7c05a8p-15f, -0x1.ad813p-20f));
    LET(F32, far, SUB(F(1.0f), CALL2(exp_sum, NEG(g), F(0.0f))));
    return ABS_SIGN_OF(SELECT(LT(a, F(1.0f)), FMA(a, p, a), far), x);
}

/* e = e^-|x| never overflows, q = e / (1 + e): 1 - q, and for x < 0 q itself, as e - e q, which rounds less. */
FUNCTION1(sigmoid, x) {
    LET(F32, e, CALL2(exp_sum, NEG(ABS(x)), F(0.0f)));
    LET(F32, q, DIV(e, ADD(e, F(1.0f))));
    return SELECT(LT(x, F(0.0f)), FMA(NEG(e), q, e), SUB(F(1.0f), q));
}

/* sin (turn 0) or cos (turn 1), by Payne and Hanek: |x| = m 2^s with a 24-bit m; of 2/pi only 96 bits matter, those
 * whose product with m 2^s lies between 2 and 2^-94: they start at bit FIRST of the words 0, 2/pi, and are chosen by
 * moving down 4, 2 and 1 words and then single bits. The product mod 2^96 is the quadrant (2 bits) and the fraction.
 * Below pi/4 |x| itself is the reduced argument. */
FUNCTION_CIRCLE(x, turn) {
    LET(F32, a, ABS(x));
    LET(I32, bits, AS_I32(a));
    LET(U64, m, TO_U64(OR(AND(bits, I(0x7fffff)), I(0x800000))));
    LET(I32, at, SUB(SHIFT_RIGHT(bits, I(23)), I(120))); /* exponent - 127 - 23 - 1 + 31: the first bit in the words */
    LET(I32, first, SELECT(LT(at, I(0)), I(0), at));
    LET(BOOL, by4, NE(AND(first, I(128)), I(0)));
    LET(BOOL, by2, NE(AND(first, I(64)), I(0)));
    LET(BOOL, by1, NE(AND(first, I(32)), I(0)));
    LET(U32, shift, TO_U32(AND(first, I(31))));
    LET(U32, back, SUB(U(32), shift));
    LET(U32, a0, SELECT(by4, U(0xf534ddc0), U(0)));
    LET(U32, a1, SELECT(by4, U(0xdb629599), U(0xa2f9836e)));
    LET(U32, a2, SELECT(by4, U(0x3c439041), U(0x4e441529)));
    LET(U32, a3, SELECT(by4, U(0xfe5163ab), U(0xfc2757d1)));
    LET(U32, b0, SELECT(by2, a2, a0));
    LET(U32, b1, SELECT(by2, a3, a1));
    LET(U32, b2, SELECT(by2, U(0xf534ddc0), a2));
    LET(U32, b3, SELECT(by2, U(0xdb629599), a3));
    LET(U32, c1, SELECT(by1, b2, b1));
    LET(U32, c2, SELECT(by1, b3, b2));
    LET(U32, c3, SELECT(by1, SELECT(by2, U(0x3c439041), U(0xf534ddc0)), b3));
    LET(U32, w0, OR(SHIFT_LEFT(SELECT(by1, b1, b0), shift), SHIFT_RIGHT(c1, back)));
    LET(U32, w1, OR(SHIFT_LEFT(c1, shift), SHIFT_RIGHT(c2, back)));
    LET(U32, w2, OR(SHIFT_LEFT(c2, shift), SHIFT_RIGHT(c3, back)));
    LET(U64, low, MUL(m, TO_U64(w2)));
    LET(U64, middle, ADD(MUL(m, TO_U64(w1)), SHIFT_RIGHT(low, W(32))));
    LET(U64, top, SHIFT_LEFT(ADD(MUL(m, TO_U64(w0)), SHIFT_RIGHT(middle, W(32))), W(32)));
    LET(U64, product, OR(top, AND(middle, W(0xffffffff)))); /* the upper 64 of the 96 bits */
    LET(I64, fraction, TO_I64(OR(SHIFT_LEFT(product, W(2)), AND(SHIFT_RIGHT(low, W(30)), W(3)))));
    LET(BOOL, near, LT(a, F(0x1.921fb4p-1f)));
    LET(I32, quadrant, ADD(TO_I32(SHIFT_RIGHT(product, W(62))), SELECT(LT(fraction, L(0)), I(1), I(0))));
    LET(I32, q, ADD(SELECT(near, I(0), quadrant), I(turn)));
    LET(F32, high, TO_F32(fraction));
    LET(F32, low_part, TO_F32(SUB(fraction, TO_I64(high))));
    LET(F32, product_high, MUL(high, F(0x1.921fb6p-64f)));
    LET(F32, product_low,
        ADD(FMA(high, F(0x1.921fb6p-64f), NEG(product_high)),
            FMA(high, F(-0x1.777a5cp-89f), MUL(low_part, F(0x1.921fb6p-64f)))));
    LET(F32, r, SELECT(near, a, product_high));
    LET(F32, rl, SELECT(near, F(0.0f), product_low));
    LET(F32, t, MUL(r, r));
    LET(F32, s, POLY2(t, -0x1.555556p-3f, 0x1.11119ap-7f, -0x1.a08584p-13f));
    LET(F32, sine, ADD(r, FMA(MUL(r, t), FMA(MUL(MUL(t, t), t), F(0x1.882736p-19f), s), rl)));
    LET(F32, w, FMA(t, F(-0.5f), F(1.0f)));
    LET(F32, lost, FMA(t, F(-0.5f), SUB(F(1.0f), w)));
    LET(F32, c, POLY2(t, 0x1.555554p-5f, -0x1.6c129ep-10f, 0x1.9bc774p-16f));
    LET(F32, cosine, ADD(w, FMA(MUL(t, t), c, FMA(NEG(r), rl, lost))));
    LET(F32, value, SELECT(NE(AND(q, I(1)), I(0)), cosine, sine));
    LET(I32, flip, SHIFT_LEFT(AND(q, I(2)), I(30)));
    LET(F32, turned, AS_F32(XOR(AS_I32(value), flip)));
    return SELECT(LT(a, F(INFINITY)), turned, SUB(x, x));
}

FUNCTION1(sin, x) {
    LET(F32, value, CALL_CIRCLE(x, 0));
    return AS_F32(XOR(AS_I32(value), AND(AS_I32(x), I(INT32_MIN))));
}

FUNCTION1(cos, x) {
    return CALL_CIRCLE(x, 1);
}

/* ln |x| as a sum of two floats (about 40 bits), times y, through exp_sum. With s = f / (2 + f): ln m = 2 s + s^3
 * P(s^2), and both s and the leading coefficient 2/3 carry a second float. What C says of special operands follows at
 * the end. */
FUNCTION2(pow, x, y) {
    LET(F32, a, ABS(x));
    LET(BOOL, tiny, LT(a, F(0x1p-126f)));
    LET(I32, bits, AS_I32(SELECT(tiny, MUL(a, F(0x1p23f)), a)));
    LET(I32, e, SHIFT_RIGHT(SUB(bits, I(0x3f3504f3)), I(23)));
    LET(F32, m, AS_F32(SUB(bits, SHIFT_LEFT(e, I(23)))));
    LET(F32, n, ADD(TO_F32(e), SELECT(tiny, F(-23.0f), F(0.0f))));
    LET(F32, f, SUB(m, F(1.0f)));
    LET(F32, d, ADD(m, F(1.0f)));
    LET(F32, d_low, SUB(m, SUB(d, F(1.0f))));
    LET(F32, s, DIV(f, d));
    LET(F32, s_low, DIV(FMA(NEG(s), d_low, FMA(NEG(s), d, f)), d));
    LET(F32, t, MUL(s, s));
    LET(F32, t_low, FMA(ADD(s, s), s_low, FMA(s, s, NEG(t))));
    LET(F32, q, MUL(t, FMA(POLY2(t, 0x1.249212p-2f, 0x1.c70262p-3f, 0x1.82a812p-3f), t, F(0x1.99999ap-2f))));
    LET(F32, p, ADD(F(0x1.555556p-1f), q));
    LET(F32, p_low, ADD(SUB(q, SUB(p, F(0x1.555556p-1f))), F(-0x1.555556p-26f)));
    LET(F32, u, MUL(t, p));
    LET(F32, u_low, FMA(t, p_low, FMA(t_low, p, FMA(t, p, NEG(u)))));
    LET(F32, v, ADD(F(2.0f), u));
    LET(F32, v_low, ADD(SUB(u, SUB(v, F(2.0f))), u_low));
    LET(F32, lnm, MUL(s, v));
    LET(F32, lnm_low, FMA(s, v_low, FMA(s_low, v, FMA(s, v, NEG(lnm)))));
    LET(F32, n_high, MUL(n, F(0x1.62e4p-1f)));
    LET(F32, sum, ADD(n_high, lnm));
    LET(F32, sum_low, ADD(SUB(lnm, SUB(sum, n_high)), FMA(n, F(0x1.7f7d1cp-20f), lnm_low)));
    LET(F32, ln, ADD(sum, sum_low));
    LET(F32, ln_low, SUB(sum_low, SUB(ln, sum)));
    LET(F32, ln_all, SELECT(EQ(a, F(0.0f)), F(-INFINITY), SELECT(EQ(a, F(INFINITY)), F(INFINITY), ln)));
    LET(F32, z, MUL(y, ln_all));
    LET(F32, z_low, FMA(y, ln_low, FMA(y, ln, NEG(z))));
    LET(F32, size, CALL2(exp_sum, z, SELECT(LT(ABS(z), F(128.0f)), z_low, F(0.0f))));
    LET(BOOL, whole, EQ(TRUNC(y), y));
    LET(F32, y_half, MUL(y, F(0.5f)));
    LET(BOOL, odd, AND(whole, NE(TRUNC(y_half), y_half)));
    LET(I32, sign, SELECT(odd, AND(AS_I32(x), I(INT32_MIN)), I(0)));
    LET(F32, magnitude, SELECT(EQ(a, F(1.0f)), SELECT(EQ(y, y), F(1.0f), y), size));
    LET(F32, signed_size, AS_F32(XOR(AS_I32(magnitude), sign)));
    LET(BOOL, negative, AND(LT(x, F(0.0f)), AND(NE(x, F(-INFINITY)), NOT(whole))));
    LET(F32, real, SELECT(negative, F(NAN), SELECT(EQ(x, x), signed_size, x)));
    return SELECT(OR(EQ(y, F(0.0f)), EQ(x, F(1.0f))), F(1.0f), real);
}

/* fmod by long division of the significands, 40 bits of the quotient a step; exponents differ by 276 at most. */
FUNCTION2(rem, x, y) {
    LET(I32, bits_x, AND(AS_I32(x), I(INT32_MAX)));
    LET(I32, bits_y, AND(AS_I32(y), I(INT32_MAX)));
    LET(BOOL, tiny_x, LT(bits_x, I(0x800000)));
    LET(BOOL, tiny_y, LT(bits_y, I(0x800000)));
    LET(I32, exponent_x, SELECT(tiny_x, I(1), SHIFT_RIGHT(bits_x, I(23))));
    LET(I32, exponent_y, SELECT(tiny_y, I(1), SHIFT_RIGHT(bits_y, I(23))));
    LET(U64, m, TO_U64(OR(AND(bits_x, I(0x7fffff)), SELECT(tiny_x, I(0), I(0x800000)))));
    LET(U64, d, TO_U64(OR(AND(bits_y, I(0x7fffff)), SELECT(tiny_y, I(0), I(0x800000)))));
    LET(I32, distance, SUB(exponent_x, exponent_y));
#define REM_STEP(from, to, done)                                                                                       \
    LET(I32, to##_left, SUB(distance, I(done)));                                                                       \
    LET(U64, to, REM(SHIFT_LEFT(from, TO_U64(MAX(MIN(to##_left, I(40)), I(0)))), d))
    REM_STEP(m, r1, 0);
    REM_STEP(r1, r2, 40);
    REM_STEP(r2, r3, 80);
    REM_STEP(r3, r4, 120);
    REM_STEP(r4, r5, 160);
    REM_STEP(r5, r6, 200);
    REM_STEP(r6, r7, 240);
#undef REM_STEP
    LET(I32, scale, SUB(exponent_y, I(150)));
    LET(I32, half, SHIFT_RIGHT(scale, I(1)));
    LET(F32, size, MUL(MUL(TO_F32(TO_I32(r7)), POWER_OF_2(half)), POWER_OF_2(SUB(scale, half))));
    LET(BOOL, smaller, LT(bits_x, bits_y));
    LET(F32, rest, ABS_SIGN_OF(SELECT(smaller, ABS(x), size), x));
    LET(BOOL, valid, AND(LT(ABS(x), F(INFINITY)), AND(EQ(y, y), NE(y, F(0.0f)))));
    return SELECT(valid, rest, F(NAN));
}
