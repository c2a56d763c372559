/* SPDX-License-Identifier: Apache-2.0
 *
 * The expansions of math.def for f64, beside those for f32 (math_expand.h) and included as they are: as numbers and as
 * builders. The reductions are the same; polynomials are longer, and what is a second float there is a second double
 * here. scripts/fit_math.py makes the constants.
 */

/* Steps of Horner's rule, the last coefficient first. */
#define UP2(top, x, a, b) FMA(FMA(top, x, D(b)), x, D(a))
#define UP4(top, x, a, b, c, d) UP2(UP2(top, x, c, d), x, a, b)
#define UP8(top, x, a, b, c, d, e, f, g, h) UP4(UP4(top, x, e, f, g, h), x, a, b, c, d)

#define SIGN_64 L(INT64_MIN)
#define ABS_SIGN_OF_64(value, x) AS_F64(OR(AS_I64(value), AND(AS_I64(x), SIGN_64))) /* value >= 0 */
#define POWER_OF_2_64(i) AS_F64(SHIFT_LEFT(ADD(i, L(1023)), L(52)))

/* ln 2 in two parts: the first has 42 bits, so that its product with an exponent is exact. */
#define LN2_HIGH D(0x1.62e42fefa38p-1)
#define LN2_LOW D(0x1.ef35793c7673p-45)

FUNCTION2_64(exp_sum, x, low) {
    LET(F64, capped, SELECT(LT(D(710.0), x), D(710.0), x));
    LET(F64, c, SELECT(LT(capped, D(-746.0)), D(-746.0), capped));
    LET(F64, shifted, FMA(c, D(0x1.71547652b82fep0), D(0x1.8p52)));
    LET(F64, n, SUB(shifted, D(0x1.8p52)));
    LET(F64, r, FMA(NEG(n), LN2_HIGH, c)); /* exact */
    LET(F64, r_low, FMA(NEG(n), LN2_LOW, low));
    LET(F64, q,
        UP2(UP8(D(0x1.1e3d27e784f7cp-29), r, 0x1.5555555555503p-5, 0x1.111111110ec64p-7, 0x1.6c16c16c3044bp-10,
                0x1.a01a01b37b672p-13, 0x1.a01a01369a957p-16, 0x1.71ddf02808e13p-19, 0x1.27e5b43d5307cp-22,
                0x1.af6bdafbb8e55p-26),
            r, 0x1p-1, 0x1.555555555555bp-3));
    LET(F64, s, ADD(r, D(1.0)));
    LET(F64, s_low, FMA(MUL(r, r), q, SUB(r, SUB(s, D(1.0)))));
    LET(F64, p, ADD(s, FMA(r_low, ADD(s, s_low), s_low)));
    LET(I64, i, SUB(AS_I64(shifted), L(0x4338000000000000)));
    LET(I64, half, SHIFT_RIGHT(i, L(1)));
    return MUL(MUL(p, POWER_OF_2_64(half)), POWER_OF_2_64(SUB(i, half)));
}

FUNCTION1_64(exp, x) {
    return CALL2_64(exp_sum, x, D(0.0));
}

/* x = 2^e m with m in [0.7071, 1.4142), f = m - 1, s = f / (2 + f): ln m = 2 s + s t P(t) with t = s^2, written as
 * f - f^2/2 + s (f^2/2 + t P). */
FUNCTION1_64(log, x) {
    LET(BOOL, tiny, LT(x, D(0x1p-1022)));
    LET(I64, bits, AS_I64(SELECT(tiny, MUL(x, D(0x1p52)), x)));
    LET(I64, e, SHIFT_RIGHT(SUB(bits, L(0x3fe6a09e667f3bcd)), L(52)));
    LET(F64, f, SUB(AS_F64(SUB(bits, SHIFT_LEFT(e, L(52)))), D(1.0)));
    LET(F64, n, ADD(TO_F64(e), SELECT(tiny, D(-52.0), D(0.0))));
    LET(F64, s, DIV(f, ADD(f, D(2.0))));
    LET(F64, t, MUL(s, s));
    LET(F64, p,
        UP2(UP4(D(0x1.2f056320c94fbp-3), t, 0x1.24924941f107cp-2, 0x1.c71c52096c71bp-3, 0x1.74663ee67ebbfp-3,
                0x1.39a1bad2782b6p-3),
            t, 0x1.5555555555592p-1, 0x1.999999997fdbbp-2));
    LET(F64, half_square, MUL(MUL(f, D(0.5)), f));
    LET(F64, rest, FMA(s, FMA(t, p, half_square), NEG(half_square)));
    LET(F64, high, MUL(n, LN2_HIGH));
    LET(F64, sum, ADD(high, f));
    LET(F64, low, FMA(n, LN2_LOW, SUB(f, SUB(sum, high))));
    LET(F64, finite, SELECT(LT(x, D(INFINITY)), ADD(sum, ADD(rest, low)), x));
    return SELECT(EQ(x, D(0.0)), D(-INFINITY), SELECT(LT(x, D(0.0)), D(NAN), finite));
}

FUNCTION1_64(tanh, x) {
    LET(F64, a, ABS(x));
    LET(F64, t, MUL(a, a));
    LET(F64, p,
        FMA(UP2(UP8(D(0x1.966330afe07b7p-18), t, 0x1.664f4870bff65p-6, -0x1.226e32d11b751p-7, 0x1.d6d35aa3a50b9p-9,
                    -0x1.7d9c3a0b67338p-10, 0x1.350bcc3545ad5p-11, -0x1.f11695a440486p-13, 0x1.8027d3a74692cp-14,
                    -0x1.faf94920ce97cp-16),
                t, 0x1.1111111110c38p-3, -0x1.ba1ba1b9d10f4p-5),
            t, D(-0x1.5555555555552p-2)));
    LET(F64, e, CALL2_64(exp_sum, ADD(a, a), D(0.0)));
    LET(F64, far, SUB(D(1.0), DIV(D(2.0), ADD(e, D(1.0)))));
    return ABS_SIGN_OF_64(SELECT(LT(a, D(0.625)), FMA(MUL(a, t), p, a), far), x);
}

/* Beyond 6 it is 1. */
FUNCTION1_64(erf, x) {
    LET(F64, a, ABS(x));
    LET(F64, t, MUL(a, a));
    LET(F64, p,
        UP4(UP8(D(0x1.06246a770b4a7p-34), t, 0x1.565bcd0dbd6c4p-8, -0x1.c02db3db425e4p-11, 0x1.f9a321e3e0caep-14,
                -0x1.f4d1e423ecd2bp-17, 0x1.b9df2f7d30497p-20, -0x1.5f1f3953ee3abp-23, 0x1.f7b9488feb3a7p-27,
                -0x1.38ab1450f61edp-30),
            t, 0x1.06eba8214db69p-3, -0x1.812746b0379e6p-2, 0x1.ce2f21a042b34p-4, -0x1.b82ce31284f29p-6));
    LET(F64, c, SUB(SELECT(LT(D(6.0), a), D(6.0), a), D(1.0)));
    LET(F64, g,
        UP4(UP8(UP8(D(-0x1.8e13974ce8534p-46), c, -0x1.1816a46f946a5p-23, 0x1.313eeed1e6947p-24, -0x1.8f4e10e56ebc4p-26,
                    0x1.7ff5e62400d24p-28, -0x1.17f27a8e76b7dp-30, 0x1.2f98b94f23d09p-33, -0x1.cef1d6a7a09edp-37,
                    0x1.ba808f13203p-41),
                c, -0x1.48c9d40bf571bp-7, 0x1.033f69941590ap-9, -0x1.f1b4bc4e8531ep-13, -0x1.b8be1fd6fb406p-16,
                0x1.c758dc00bfb41p-16, -0x1.4154992a2260cp-17, 0x1.0eac34ccbfea1p-19, -0x1.ac2ca808cb7aap-24),
            c, 0x1.d97fbf27aa2a1p+0, 0x1.51c9b0006c23dp+1, 0x1.afabc11a28f3fp-1, 0x1.5477f09ca8b75p-5));
    LET(F64, far, SUB(D(1.0), CALL2_64(exp_sum, NEG(g), D(0.0))));
    return ABS_SIGN_OF_64(SELECT(LT(a, D(1.0)), FMA(a, p, a), far), x);
}

FUNCTION1_64(sigmoid, x) {
    LET(F64, e, CALL2_64(exp_sum, NEG(ABS(x)), D(0.0)));
    LET(F64, q, DIV(e, ADD(e, D(1.0))));
    return SELECT(LT(x, D(0.0)), FMA(NEG(e), q, e), SUB(D(1.0), q));
}

/* Payne and Hanek as for f32: |x| = m 2^s with a 53-bit m, of 2/pi 192 bits: those whose product with m 2^s lies
 * between 2 and 2^-190. They start at bit FIRST of 64 zeros and 2/pi; words are chosen by moving down 16, 8, 4, 2 and 1
 * words. The product mod 2^192, in columns of 32 bits, is the quadrant (2 bits) and the fraction, of which 128 bits
 * count: no f64 is nearer than 2^-62 to a multiple of pi/2. */
FUNCTION_CIRCLE_64(x, turn) {
    LET(F64, a, ABS(x));
    LET(I64, bits, AS_I64(a));
    LET(U64, m, TO_U64(OR(AND(bits, L(0xfffffffffffff)), L(0x10000000000000))));
    LET(I64, at, SUB(SHIFT_RIGHT(bits, L(52)), L(1013))); /* exponent - 1023 - 52 - 1 + 63 */
    LET(I64, first, SELECT(LT(at, L(0)), L(0), at));
    LET(BOOL, by16, NE(AND(first, L(1024)), L(0)));
    LET(BOOL, by8, NE(AND(first, L(512)), L(0)));
    LET(BOOL, by4, NE(AND(first, L(256)), L(0)));
    LET(BOOL, by2, NE(AND(first, L(128)), L(0)));
    LET(BOOL, by1, NE(AND(first, L(64)), L(0)));
    LET(U64, shift, TO_U64(AND(first, L(63))));
    LET(U64, back, SUB(W(64), shift));
    LET(U64, a0, SELECT(by8, W(0xe88235f52ebb4484), W(0)));
    LET(U64, a1, SELECT(by8, W(0xe99c7026b45f7e41), W(0xa2f9836e4e441529)));
    LET(U64, a2, SELECT(by8, W(0x3991d639835339f4), W(0xfc2757d1f534ddc0)));
    LET(U64, a3, SELECT(by8, W(0x9c845f8bbdf9283b), W(0xdb6295993c439041)));
    LET(U64, a4, SELECT(by8, W(0x1ff897ffde05980f), W(0xfe5163abdebbc561)));
    LET(U64, a5, SELECT(by8, W(0xef2f118b5a0a6d1f), W(0xb7246e3a424dd2e0)));
    LET(U64, a6, SELECT(by8, W(0x6d367ecf27cb09b7), W(0x06492eea09d1921c)));
    LET(U64, a7, SELECT(by8, W(0x4f463f669e5fea2d), W(0xfe1deb1cb129a73e)));
    LET(U64, a8, SELECT(by8, W(0x7527bac7ebe5f17b), W(0xe88235f52ebb4484)));
    LET(U64, a9, SELECT(by8, W(0x3d0739f78a5292ea), W(0xe99c7026b45f7e41)));
    LET(U64, a10, SELECT(by8, W(0x6bfb5fb11f8d5d08), W(0x3991d639835339f4)));
    LET(U64, b0, SELECT(by4, a4, a0));
    LET(U64, b1, SELECT(by4, a5, a1));
    LET(U64, b2, SELECT(by4, a6, a2));
    LET(U64, b3, SELECT(by4, a7, a3));
    LET(U64, b4, SELECT(by4, a8, a4));
    LET(U64, b5, SELECT(by4, a9, a5));
    LET(U64, b6, SELECT(by4, a10, a6));
    LET(U64, c0, SELECT(by2, b2, b0));
    LET(U64, c1, SELECT(by2, b3, b1));
    LET(U64, c2, SELECT(by2, b4, b2));
    LET(U64, c3, SELECT(by2, b5, b3));
    LET(U64, c4, SELECT(by2, b6, b4));
    LET(U64, d0, SELECT(by16, W(0x7527bac7ebe5f17b), SELECT(by1, c1, c0)));
    LET(U64, d1, SELECT(by16, W(0x3d0739f78a5292ea), SELECT(by1, c2, c1)));
    LET(U64, d2, SELECT(by16, W(0x6bfb5fb11f8d5d08), SELECT(by1, c3, c2)));
    LET(U64, d3, SELECT(by16, W(0x56033046fc7b6bab), SELECT(by1, c4, c3)));
    LET(U64, w0, OR(SHIFT_LEFT(d0, shift), SHIFT_RIGHT(d1, back)));
    LET(U64, w1, OR(SHIFT_LEFT(d1, shift), SHIFT_RIGHT(d2, back)));
    LET(U64, w2, OR(SHIFT_LEFT(d2, shift), SHIFT_RIGHT(d3, back)));
    LET(U64, m0, AND(m, W(0xffffffff)));
    LET(U64, m1, SHIFT_RIGHT(m, W(32)));
#define LOW_HALF(v) AND(v, W(0xffffffff))
#define HIGH_HALF(v) SHIFT_RIGHT(v, W(32))
#define COLUMN(to, left, right, carry)                                                                                 \
    LET(U64, to##_p, MUL(m0, left));                                                                                   \
    LET(U64, to##_q, MUL(m1, right));                                                                                  \
    LET(U64, to, ADD(ADD(LOW_HALF(to##_p), LOW_HALF(to##_q)), carry))
#define CARRY(from) ADD(ADD(HIGH_HALF(from##_p), HIGH_HALF(from##_q)), HIGH_HALF(from))
    COLUMN(k0, LOW_HALF(w2), W(0), W(0));
    COLUMN(k1, HIGH_HALF(w2), LOW_HALF(w2), CARRY(k0));
    COLUMN(k2, LOW_HALF(w1), HIGH_HALF(w2), CARRY(k1));
    COLUMN(k3, HIGH_HALF(w1), LOW_HALF(w1), CARRY(k2));
    COLUMN(k4, LOW_HALF(w0), HIGH_HALF(w1), CARRY(k3));
    COLUMN(k5, HIGH_HALF(w0), LOW_HALF(w0), CARRY(k4));
    LET(U64, top, OR(SHIFT_LEFT(k5, W(32)), LOW_HALF(k4)));
    LET(U64, middle, OR(SHIFT_LEFT(k3, W(32)), LOW_HALF(k2)));
    LET(I64, fraction, TO_I64(OR(SHIFT_LEFT(top, W(2)), SHIFT_RIGHT(middle, W(62)))));
    LET(U64, behind, OR(SHIFT_LEFT(middle, W(2)), AND(SHIFT_RIGHT(k1, W(30)), W(3))));
#undef CARRY
#undef COLUMN
#undef HIGH_HALF
#undef LOW_HALF
    LET(BOOL, near, LT(a, D(0x1.921fb54442d18p-1)));
    LET(I64, quadrant, ADD(TO_I64(SHIFT_RIGHT(top, W(62))), SELECT(LT(fraction, L(0)), L(1), L(0))));
    LET(I64, q, ADD(SELECT(near, L(0), quadrant), L(turn)));
    LET(F64, whole, TO_F64(fraction));
    LET(F64, part, FMA(TO_F64(TO_I64(SHIFT_RIGHT(behind, W(1)))), D(0x1p-63), TO_F64(SUB(fraction, TO_I64(whole)))));
    LET(F64, high, ADD(whole, part));
    LET(F64, low, SUB(part, SUB(high, whole)));
    LET(F64, product_high, MUL(high, D(0x1.921fb54442d18p-64)));
    LET(F64, product_low,
        ADD(FMA(high, D(0x1.921fb54442d18p-64), NEG(product_high)),
            FMA(high, D(0x1.1a62633145c07p-118), MUL(low, D(0x1.921fb54442d18p-64)))));
    LET(F64, r, SELECT(near, a, product_high));
    LET(F64, rl, SELECT(near, D(0.0), product_low));
    LET(F64, t, MUL(r, r));
    LET(F64, s,
        UP2(UP4(D(-0x1.aaa577d7a8b3dp-41), t, -0x1.a01a01a018ae9p-13, 0x1.71de3a5339e48p-19, -0x1.ae645298de457p-26,
                0x1.612093177c797p-33),
            t, -0x1.5555555555555p-3, 0x1.111111111110bp-7));
    LET(F64, sine, ADD(r, FMA(MUL(r, t), s, FMA(MUL(rl, t), D(-0.5), rl))));
    LET(F64, w, FMA(t, D(-0.5), D(1.0)));
    LET(F64, lost, FMA(t, D(-0.5), SUB(D(1.0), w)));
    LET(F64, c,
        UP2(UP4(D(0x1.aac5da548dd3cp-45), t, 0x1.a01a01a018deep-16, -0x1.27e4fb75fdc02p-22, 0x1.1eed8ca3ff08p-29,
                -0x1.939338a4435e2p-37),
            t, 0x1.5555555555555p-5, -0x1.6c16c16c16c1p-10));
    LET(F64, cosine, ADD(w, FMA(MUL(t, t), c, FMA(NEG(r), rl, lost))));
    LET(F64, value, SELECT(NE(AND(q, L(1)), L(0)), cosine, sine));
    LET(I64, flip, SHIFT_LEFT(AND(q, L(2)), L(62)));
    LET(F64, turned, AS_F64(XOR(AS_I64(value), flip)));
    return SELECT(LT(a, D(INFINITY)), turned, SUB(x, x));
}

FUNCTION1_64(sin, x) {
    LET(F64, value, CALL_CIRCLE_64(x, 0));
    return AS_F64(XOR(AS_I64(value), AND(AS_I64(x), SIGN_64)));
}

FUNCTION1_64(cos, x) {
    return CALL_CIRCLE_64(x, 1);
}

/* As for f32; the logarithm has about 66 bits. */
FUNCTION2_64(pow, x, y) {
    LET(F64, a, ABS(x));
    LET(BOOL, tiny, LT(a, D(0x1p-1022)));
    LET(I64, bits, AS_I64(SELECT(tiny, MUL(a, D(0x1p52)), a)));
    LET(I64, e, SHIFT_RIGHT(SUB(bits, L(0x3fe6a09e667f3bcd)), L(52)));
    LET(F64, m, AS_F64(SUB(bits, SHIFT_LEFT(e, L(52)))));
    LET(F64, n, ADD(TO_F64(e), SELECT(tiny, D(-52.0), D(0.0))));
    LET(F64, f, SUB(m, D(1.0)));
    LET(F64, d, ADD(m, D(1.0)));
    LET(F64, d_low, SUB(m, SUB(d, D(1.0))));
    LET(F64, s, DIV(f, d));
    LET(F64, s_low, DIV(FMA(NEG(s), d_low, FMA(NEG(s), d, f)), d));
    LET(F64, t, MUL(s, s));
    LET(F64, t_low, FMA(ADD(s, s), s_low, FMA(s, s, NEG(t))));
    LET(F64, q,
        MUL(t, UP8(D(0x1.c31a6fcc99941p-4), t, 0x1.999999999999ap-2, 0x1.249249249246fp-2, 0x1.c71c71c72274ap-3,
                   0x1.745d174180703p-3, 0x1.3b13b3113ea5cp-3, 0x1.11109465e43f3p-3, 0x1.e20b7c25de076p-4,
                   0x1.aaec23e3f2f4bp-4)));
    LET(F64, p, ADD(D(0x1.5555555555555p-1), q));
    LET(F64, p_low, ADD(SUB(q, SUB(p, D(0x1.5555555555555p-1))), D(0x1.5555555555555p-55)));
    LET(F64, u, MUL(t, p));
    LET(F64, u_low, FMA(t, p_low, FMA(t_low, p, FMA(t, p, NEG(u)))));
    LET(F64, v, ADD(D(2.0), u));
    LET(F64, v_low, ADD(SUB(u, SUB(v, D(2.0))), u_low));
    LET(F64, lnm, MUL(s, v));
    LET(F64, lnm_low, FMA(s, v_low, FMA(s_low, v, FMA(s, v, NEG(lnm)))));
    LET(F64, n_high, MUL(n, LN2_HIGH));
    LET(F64, sum, ADD(n_high, lnm));
    LET(F64, sum_low, ADD(SUB(lnm, SUB(sum, n_high)), FMA(n, LN2_LOW, lnm_low)));
    LET(F64, ln, ADD(sum, sum_low));
    LET(F64, ln_low, SUB(sum_low, SUB(ln, sum)));
    LET(F64, ln_all, SELECT(EQ(a, D(0.0)), D(-INFINITY), SELECT(EQ(a, D(INFINITY)), D(INFINITY), ln)));
    LET(F64, z, MUL(y, ln_all));
    LET(F64, z_low, FMA(y, ln_low, FMA(y, ln, NEG(z))));
    LET(F64, size, CALL2_64(exp_sum, z, SELECT(LT(ABS(z), D(1024.0)), z_low, D(0.0))));
    LET(BOOL, whole, EQ(TRUNC(y), y));
    LET(F64, y_half, MUL(y, D(0.5)));
    LET(BOOL, odd, AND(whole, NE(TRUNC(y_half), y_half)));
    LET(I64, sign, SELECT(odd, AND(AS_I64(x), SIGN_64), L(0)));
    LET(F64, magnitude, SELECT(EQ(a, D(1.0)), SELECT(EQ(y, y), D(1.0), y), size));
    LET(F64, signed_size, AS_F64(XOR(AS_I64(magnitude), sign)));
    LET(BOOL, negative, AND(LT(x, D(0.0)), AND(NE(x, D(-INFINITY)), NOT(whole))));
    LET(F64, real, SELECT(negative, D(NAN), SELECT(EQ(x, x), signed_size, x)));
    return SELECT(OR(EQ(y, D(0.0)), EQ(x, D(1.0))), D(1.0), real);
}

/* fmod by long division: each step takes as many times |y| 2^k from what is left as go into it, a quotient of at most
 * 52 bits, which rounding may make one too large; both products are exact. Exponents differ by 2097 at most. */
FUNCTION2_64(rem, x, y) {
    LET(F64, a, ABS(x));
    LET(F64, b, ABS(y));
    LET(BOOL, tiny_x, LT(a, D(0x1p-1022)));
    LET(BOOL, tiny_y, LT(b, D(0x1p-1022)));
    LET(I64, exponent_x,
        SUB(SHIFT_RIGHT(AS_I64(SELECT(tiny_x, MUL(a, D(0x1p54)), a)), L(52)), SELECT(tiny_x, L(54), L(0))));
    LET(I64, exponent_y,
        SUB(SHIFT_RIGHT(AS_I64(SELECT(tiny_y, MUL(b, D(0x1p54)), b)), L(52)), SELECT(tiny_y, L(54), L(0))));
    LET(I64, k, SUB(SUB(exponent_x, exponent_y), L(51)));
    LET(I64, up, MIN(MAX(k, L(0)), L(2046)));
    LET(I64, half, SHIFT_RIGHT(up, L(1)));
    LET(F64, d, MUL(MUL(b, POWER_OF_2_64(half)), POWER_OF_2_64(SUB(up, half))));
#define REM_STEP(r, d, to)                                                                                             \
    LET(F64, to##_rest, FMA(NEG(TRUNC(DIV(r, d))), d, r));                                                             \
    LET(F64, to, SELECT(LT(to##_rest, D(0.0)), ADD(to##_rest, d), to##_rest))
#define REM_DOWN(k, d, to_k, to_d)                                                                                     \
    LET(I64, to_k, SUB(k, L(52)));                                                                                     \
    LET(F64, to_d, SELECT(LT(L(0), to_k), MUL(d, D(0x1p-52)), b))
#define REM_4(r, k, d, to)                                                                                             \
    REM_STEP(r, d, to##_1);                                                                                            \
    REM_DOWN(k, d, to##_k1, to##_d1);                                                                                  \
    REM_STEP(to##_1, to##_d1, to##_2);                                                                                 \
    REM_DOWN(to##_k1, to##_d1, to##_k2, to##_d2);                                                                      \
    REM_STEP(to##_2, to##_d2, to##_3);                                                                                 \
    REM_DOWN(to##_k2, to##_d2, to##_k3, to##_d3);                                                                      \
    REM_STEP(to##_3, to##_d3, to);                                                                                     \
    REM_DOWN(to##_k3, to##_d3, to##_k, to##_d)
    REM_4(a, k, d, r1);
    REM_4(r1, r1_k, r1_d, r2);
    REM_4(r2, r2_k, r2_d, r3);
    REM_4(r3, r3_k, r3_d, r4);
    REM_4(r4, r4_k, r4_d, r5);
    REM_4(r5, r5_k, r5_d, r6);
    REM_4(r6, r6_k, r6_d, r7);
    REM_4(r7, r7_k, r7_d, r8);
    REM_4(r8, r8_k, r8_d, r9);
    REM_4(r9, r9_k, r9_d, r10);
    REM_STEP(r10, r10_d, last);
#undef REM_4
#undef REM_DOWN
#undef REM_STEP
    LET(F64, rest, ABS_SIGN_OF_64(SELECT(LT(a, b), a, last), x));
    LET(BOOL, valid, AND(LT(a, D(INFINITY)), AND(EQ(y, y), NE(y, D(0.0)))));
    return SELECT(valid, rest, D(NAN));
}
