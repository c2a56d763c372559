/* SPDX-License-Identifier: Apache-2.0
 *
 * Broken graphs are refused. Two ways: texts with one mistake each, whose error must say where and what; and a sound
 * graph with one thing of its memory changed, as a wrong pass would.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "ir/graph.h"
#include "ir/graph_inside.h"

/* --- texts --- */

struct broken {
    const char *text, *error;
};

/* X stands in graph main(N in 1..8, x f32 [N, 4], i i64 [3], p bool []) mesh(tp=2) { X return %x } unless it starts
 * with "graph". */
static const struct broken texts[] = {
    {"%a = add(%x, %y)", "t:1:85: there is no value %y before"},
    {"%a = add(%x, %a)", "there is no value %a before"},
    {"%a = addd(%x, %x)", "there is no op 'addd'"},
    {"%a = add(%x)", "add %a: it has 1 operands and should have 2"},
    {"%a = add(%x, %x, %x)", "it has 3 operands and should have 2"},
    {"%a = add(%x, %i)", "operands are of different types: f32 [N, 4] and i64 [3]"},
    {"%x = neg(%x)", "%x is named twice"},
    {"%a = neg(%x) %a = neg(%x)", "%a is named twice"},
    {"%a = neg(%x) : f32 [N, 5]", "%a is f32 [N, 4], not f32 [N, 5]"},
    {"%a = neg(%x) : f16 [N, 4]", "%a is f32 [N, 4], not f16 [N, 4]"},
    {"%a = neg(%x) : f99 [N, 4]", "no element type is called 'f99'"},
    {"%a = neg(%x) axis=1", "neg has no attribute 'axis'"},
    {"%a, %b = neg(%x)", "it has 2 results and should have 1"},
    {"neg(%x)", "neg has 1 results"},
    {"%a = not(%x)", "it is not defined on f32"},
    {"%a = sqrt(%i)", "it is not defined on i64"},
    {"%a = select(%x, %x, %x)", "operand 0 is f32 [N, 4], not bool"},
    {"%a = reduce(%x) axes=[2] kind=add", "axes 2 is not an axis of rank 2"},
    {"%a = reduce(%x) axes=[1, 0] kind=add", "axes are not ascending"},
    {"%a = reduce(%x) axes=[1, 1] kind=add", "axes names axis 1 twice"},
    {"%a = reduce(%x) axes=[1] kind=sub", "kind cannot be 'sub'"},
    {"%a = reduce(%x) axes=[1] kind=and", "kind and is not defined on f32"},
    {"%a = reduce(%p) axes=[] kind=add", "kind add is not defined on bool"},
    {"%a = reduce(%x) axes=[1]", "attribute 'kind' is missing"},
    {"%a = reduce(%x) kind=add kind=add axes=[]", "attribute 'kind' stands twice"},
    {"%a = reduce(%x) axes=3 kind=add", "'[' is missing before '3 kind=add"},
    {"%a = transpose(%x) permutation=[0]", "permutation has 1 entries and should have 2"},
    {"%a = transpose(%x) permutation=[0, 0]", "permutation names axis 0 twice"},
    {"%a = reshape(%x) shape=[N, 5]", "have different numbers of elements"},
    {"%a = reshape(%x) shape=[N, -4]", "axis 1 of shape is negative"},
    {"%a = reshape(%x) shape=[N,1,1,1,1,1,1,2,2]", "rank 9, more than 8"},
    {"%a = reshape(%x) shape=[M, 4]", "no input, bind or loop before it gives the dim M"},
    {"%a = broadcast(%x) shape=[N, 5] axes=[0, 1]", "axis 1 of f32 [N, 4] does not spread over 5"},
    {"%a = broadcast(%x) shape=[N, 4] axes=[0]", "axes has 1 entries and should have 2"},
    {"%a = slice(%x) start=[0, 3] limit=[N, 2] stride=[1, 1]", "axis 1 ends before it starts"},
    {"%a = slice(%x) start=[0, 0] limit=[N, 5] stride=[1, 1]", "the limit 5 on axis 1 is beyond f32 [N, 4]"},
    {"%a = slice(%x) start=[0, 0] limit=[N, 4] stride=[1, 0]", "stride 0 on axis 1 is below 1"},
    {"%a = slice(%x) start=[-1, 0] limit=[N, 4] stride=[1, 1]", "axis 0 starts before 0"},
    {"%a = concat() axis=0", "it has no operand"},
    {"%a = concat(%x, %i) axis=0", "does not fit behind"},
    {"%a = pad(%x, %x) low=[0, 0] high=[0, 0]", "the fill is f32 [N, 4]"},
    {"%a = gather(%x, %x) axis=0", "the indices are f32 [N, 4], not i32 or i64"},
    {"%a = gather(%x, %i) axis=2", "axis 2 is not an axis of rank 2"},
    {"%a = gather_nd(%x, %i) batch=0", "is not a number in 0..2"},
    {"%a = arg_reduce(%x) axis=1 kind=add", "kind cannot be 'add'"},
    {"%a = arg_reduce(%x) axis=1 kind=max last=2", "last is 0 or 1, not 2"},
    {"%a = sort(%x) axis=1 descending=0", "it has 1 results and should have 2"},
    {"%a = dot(%x, %x) batch_a=[] batch_b=[] contract_a=[0] contract_b=[1] dtype=i32",
     "products of f32 do not sum to i32"},
    {"%a = dot(%x, %x) batch_a=[0] batch_b=[] contract_a=[1] contract_b=[1]",
     "batch_b has 0 entries and should have 1"},
    {"%a = dot(%x, %x) batch_a=[1] batch_b=[1] contract_a=[1] contract_b=[1]", "axis 1 is batch and contracted"},
    {"%s = slice(%x) start=[0, 1] limit=[N, 4] stride=[1, 1] %a = dot(%x, %s) batch_a=[] batch_b=[] contract_a=[1] "
     "contract_b=[1]",
     "contracted axes 1 and 1 of f32 [N, 4] and f32 [N, 3] differ"},
    {"%a = convolution(%x, %x) strides=[] low=[] high=[] dilation=[] groups=0", "groups is below 1"},
    {"%a = convolution(%x, %x) strides=[1] low=[] high=[] dilation=[] groups=1",
     "strides has 1 entries and should have 0"},
    {"%a = convolution(%x, %x) strides=[] low=[] high=[] dilation=[] groups=1 layout=HWCN", "layout is NCHW or NHWC"},
    {"%a = iota() shape=[3] axis=1 dtype=i32", "axis 1 is not an axis of rank 1"},
    {"%a = iota() shape=[3] axis=0 dtype=bool", "there is no iota of bool"},
    {"%a = cast(%x) to=f12", "no element type is called 'f12'"},
    {"%a = bitcast(%x) to=f16", "f32 and f16 do not have the same bits"},
    {"%a = constant f32 [3] {1, 2}", "',' is missing before '}"},
    {"%a = constant f32 [2] {1, 2, 3}", "'}' is missing before ', 3}"},
    {"%a = constant f32 [N] {1}", "the shape of a constant is not made of numbers"},
    {"%a = constant f32 [1099511627776] splat(1)", "too large"},
    {"%a = constant f32 [1099511627776, 1099511627776] data(0)", "the constant is too large"},
    {"%a = constant i8 [1] {200}", "does not fit i8"},
    {"%a = constant u8 [1] {-1}", "does not fit u8"},
    {"%a = constant bool [1] {2}", "true or false is missing"},
    {"%a = constant i64 [1] {99999999999999999999}", "out of range"},
    {"%a = constant f32 [1] split=dp {1}", "the mesh has no axis 'dp'"},
    {"%a = constant f32 [1] split=tp {1}", "',' is missing before '}"},
    {"%a = constant f32 [1] data(-1)", "-1 is not in 0.."},
    {"%a = composite(%x) body(b f32 [N, 4]) { return %b }", "attribute 'name' is missing"},
    {"%a = composite(%x) name=c body(b f32 [4]) { return %b }", "input 0 of region body is not of the operand's type"},
    {"%a = composite(%x) name=c body() { return }", "region body has 0 inputs and should have 1"},
    {"%a = composite(%x) name=c body(b f32 [N, 4]) { %c = neg(%x) return %c }", "there is no value %x before"},
    {"%a = composite(%x) name=c body(b f32 [N, 4]) { return %b", "'}' is missing"},
    {"%a = composite(%x) name=c", "'(' is missing before '%x }'"}, /* `return` was taken for the name of a region */
    {"%a = if(%p, %x) then(b f32 [N, 4]) { return %b } else(b f32 [N, 4]) { return }",
     "its regions have 1 and 0 results"},
    {"%a = if(%x, %x) then(b f32 [N, 4]) { return %b } else(b f32 [N, 4]) { return %b }",
     "operand 0 is not a bool scalar"},
    {"%a = if(%p, %x) then(b f32 [N, 4]) { return %b } else(b f32 [N, 4]) { %c = reshape(%b) shape=[4, N] return %c }",
     "result 0 is f32 [N, 4] in one region and f32 [4, N] in the other"},
    {"%t = constant i64 [] {3} %a = loop(%t, %p, %x) body(i i64 [], b f32 [N, 4]) { return %b }",
     "does not give a bool scalar"},
    {"%t = constant i64 [] {3} %s, %a = loop(%t, %p, %x) body(i i64 [], b f32 [N, 4]) { %c = lt(%i, %i) return %c, %b, "
     "%b }",
     "attribute 'length' is missing"},
    {"bind(%i) symbols=[a, b]", "is not a vector of 2 i64"},
    {"bind(%i) symbols=[a, b, a]", "it binds a twice"},
    {"bind(%i) symbols=[a, b, N]", "the dim N is known before"},
    {"bind(%i) symbols=[a, b, a*2]", "symbol 2 is an expression"},
    {"%a = all_reduce(%x) kind=add axis=dp %b = wait(%a)", "the mesh has no axis 'dp'"},
    {"%a = all_reduce(%x) kind=add axis=tp", "nobody waits for its result"},
    {"%a = all_reduce(%x) kind=add axis=tp %b = neg(%a)", "operand 0 is pending: only wait may use it"},
    {"%a = all_reduce(%x) kind=add axis=tp %b = wait(%a) %c = wait(%a)", "its operand was waited for before"},
    {"%a = wait(%x)", "it waits for a value that is no collective's"},
    {"%s = slice(%x) start=[0, 1] limit=[N, 4] stride=[1, 1] %a = reduce_scatter(%s) dim=1 kind=add axis=tp %b = "
     "wait(%a)",
     "2 ranks do not divide 3"},
    {"%a = neg(%x) : f32 [N, 4] layout(0,0)", ""}, /* row-major, said in a long way: no error */
    {"%a = neg(%x) : f32 [N, 4] layout(1,1)", "its layout is not a permutation"},
    {"%a = neg(%x) : f32 [N, 4] layout(1,2)", "2 is not in 0..1"},
    {"%a = neg(%x) : f32 [N, 4] shard(dp,-)", "sharded over an axis that the mesh has not"},
    {"%a = neg(%x) : f32 [N, 4] shard(tp,tp)", "two of its axes are sharded over one mesh axis"},
    {"%a = neg(%x) : f32 [N, 4] partial(dp)", "it is partial over no mesh axis"},
    {"%a = neg(%x) @-3", "-3 is not in 0.."},
    {"return %x } %b", "'%b return %x' stands after the graph"},
    {"graph g(x f32 [N) { return %x }", "',' is missing before ') { return"},
    {"graph g(x f32 [N]) { return %x", "'}' is missing: the text ends"},
    {"graph g(x f32 [N]) {", "'return' is missing: the text ends"},
    {"graph g(x f32 [N], N in 1..2) { return %x }", "the dim N is used before its bounds"},
    {"graph g(N in 3..2, x f32 [N]) { return %x }", "the bounds of N are empty"},
    {"graph g(x f32 [], x f32 []) { return %x }", "%x is named twice"},
    {"graph g(x f32 []) { return %x, %x }", "two outputs are called 'x'"},
    {"graph g(x f32 [2]) state(x = y) { return %x }", "state x = y names no value"},
    {"graph g(x f32 [2]) state(x = y) { %y = cast(%x) to=f16 return %y }", "state x is f32 [2] and becomes f16 [2]"},
    {"graph g(x f32 [2]) state(x = y) { %y = neg(%x) return %x }", "state 0 does not pair an input with an output"},
    {"graph g(x f32 [2]) mesh(a=2, a=2) { return %x }", "the mesh has two axes 'a'"},
    {"graph g(x f32 [2]) mesh(a=0) { return %x }", "0 is not in 1.."},
    {"graph g(x f32 [2]) mesh(a=1, b=1, c=1, d=1, e=1) { return %x }", "a mesh has at most 4 axes"},
    {"graph g(x f32 [2]) mesh(a=1048576, b=2) { return %x }", "more than 1048576 ranks"},
    {"graph g(x f32 [1-2]) { return %x }", "a dimension is negative"},
    {"", "'graph' is missing"},
};

static void test_texts(void **state) {
    int bad = 0;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct arena *arena = arena_open();
        struct graph *g;
        struct text t = {0};
        bool whole = strncmp(texts[i].text, "graph", 5) == 0 || !*texts[i].text;
        if (whole)
            text_add(&t, "%s", texts[i].text);
        else
            text_add(&t, "graph main(N in 1..8, x f32 [N, 4], i i64 [3], p bool []) mesh(tp=2){%s return %%x }",
                     texts[i].text);
        enum yj_status status = graph_parse(arena, t.data, "t", &g);
        bool good = !*texts[i].error && status == YJ_OK;
        if (!good && (status == YJ_OK || !*texts[i].error || !strstr(yj_error_text(), texts[i].error)))
            print_error("%s\n gives: %s\n not: %s\n", t.data, status ? yj_error_text() : "no error", texts[i].error),
                bad++;
        if (status != YJ_OK) assert_true(strncmp(yj_error_text(), "t:", 2) == 0);
        text_free(&t);
        arena_close(arena);
    }
    assert_int_equal(bad, 0);
}

/* --- mutants of a sound graph --- */

static const char sound[] =
    "graph main(N in 1..8, x f32 [N, 4], c f32 [2, 4], p bool [], k i64 [1]) mesh(tp=2) state(c = d) {\n"
    "  %w = constant f32 [4, 3] {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}\n"
    "  %y = dot(%x, %w) batch_a=[] batch_b=[] contract_a=[1] contract_b=[0] @4\n"
    "  %r = reduce(%y) axes=[1] kind=max\n"
    "  %b = broadcast(%r) shape=[N, 3] axes=[0]\n"
    "  %s = sub(%y, %b)\n"
    "  %v, %o = sort(%s) axis=1 descending=1\n"
    "  %q = composite(%v, %s) name=thing body(a f32 [N, 3], b f32 [N, 3]) { %m = mul(%a, %b) return %m }\n"
    "  %h = all_reduce(%q) kind=add axis=tp\n"
    "  %g = wait(%h)\n"
    "  %f = if(%p, %g) then(a f32 [N, 3]) { %e = exp(%a) return %e } else(a f32 [N, 3]) { return %a }\n"
    "  bind(%k) symbols=[K]\n"
    "  %i = iota() shape=[K] axis=0 dtype=i32\n"
    "  %d = neg(%c)\n"
    "  return %f, %i, %d, %o\n"
    "}\n";

static struct op *find(struct graph *g, enum op_kind kind) {
    struct op *op = g->first;
    while (op && op->kind != kind)
        op = op->next;
    assert_non_null(op);
    return op;
}

static void operand_later(struct graph *g) {
    find(g, OP_sub)->in[0] = find(g, OP_sort)->out[0];
}
static void operand_itself(struct graph *g) {
    find(g, OP_sub)->in[0] = find(g, OP_sub)->out[0];
}
static void operand_null(struct graph *g) {
    find(g, OP_sub)->in[1] = NULL;
}
static void operand_inner(struct graph *g) {
    find(g, OP_all_reduce)->in[0] = find(g, OP_composite)->regions[0]->out[0];
}
static void operand_outer(struct graph *g) {
    find(g, OP_composite)->regions[0]->first->in[0] = g->in[0];
}
static void operand_count(struct graph *g) {
    find(g, OP_sub)->n_in = 1;
}
static void operand_negative(struct graph *g) {
    find(g, OP_sub)->n_in = -1;
}
static void operand_shape(struct graph *g) {
    find(g, OP_sub)->in[1] = g->in[0];
}
static void moved_up(struct graph *g) {
    op_move_before(find(g, OP_sub), find(g, OP_dot));
}
static void moved_bind(struct graph *g) {
    op_move_before(find(g, OP_iota), find(g, OP_bind));
}
static void producer_gone(struct graph *g) {
    op_remove(find(g, OP_broadcast));
}
static void bind_gone(struct graph *g) {
    op_remove(find(g, OP_bind));
}
static void wait_gone(struct graph *g) {
    value_replace(g, find(g, OP_wait)->out[0], find(g, OP_composite)->out[0]);
    op_remove(find(g, OP_wait));
}
static void wait_skipped(struct graph *g) {
    value_replace(g, find(g, OP_wait)->out[0], find(g, OP_all_reduce)->out[0]);
}
static void cycle_next(struct graph *g) {
    g->last->next = g->first;
}
static void cycle_middle(struct graph *g) {
    find(g, OP_sub)->next = find(g, OP_dot);
}
static void list_cut(struct graph *g) {
    find(g, OP_sub)->next = NULL;
}
static void list_prev(struct graph *g) {
    find(g, OP_sub)->prev = g->first;
}
static void last_wrong(struct graph *g) {
    g->last = g->first;
}
static void graph_wrong(struct graph *g) {
    find(g, OP_sub)->graph = find(g, OP_composite)->regions[0];
}
static void kind_wrong(struct graph *g) {
    find(g, OP_sub)->kind = OP_COUNT;
}
static void kind_other(struct graph *g) {
    find(g, OP_sub)->kind = OP_lt;
}
static void kind_one(struct graph *g) {
    find(g, OP_sub)->kind = OP_neg;
}
static void result_null(struct graph *g) {
    find(g, OP_sort)->out[1] = NULL;
}
static void result_count(struct graph *g) {
    find(g, OP_sort)->n_out = 1;
}
static void result_index(struct graph *g) {
    find(g, OP_sort)->out[1]->index = 0;
}
static void result_owner(struct graph *g) {
    find(g, OP_sub)->out[0]->op = find(g, OP_dot);
}
static void result_shared(struct graph *g) {
    find(g, OP_sort)->out[0] = find(g, OP_sort)->out[1];
}
static void result_dtype(struct graph *g) {
    find(g, OP_sub)->out[0]->type.dtype = YJ_F16;
}
static void result_dtype_none(struct graph *g) {
    find(g, OP_sub)->out[0]->type.dtype = (enum yj_dtype)99;
}
static void result_shape(struct graph *g) {
    find(g, OP_sub)->out[0]->type.shape[1] = dim_const(g->dims, 4);
}
static void result_shape_null(struct graph *g) {
    find(g, OP_sub)->out[0]->type.shape[0] = NULL;
}
static void result_rank(struct graph *g) {
    find(g, OP_sub)->out[0]->type.rank = 1;
}
static void result_rank_big(struct graph *g) {
    find(g, OP_sub)->out[0]->type.rank = 9;
}
static void result_symbol(struct graph *g) {
    find(g, OP_sub)->out[0]->type.shape[0] = graph_dim(g, "Z", 0, 8);
}
static void name_twice(struct graph *g) {
    find(g, OP_sub)->out[0]->name = "y";
}
static void name_null(struct graph *g) {
    find(g, OP_sub)->out[0]->name = NULL;
}
static void name_by_hand(struct graph *g) {
    find(g, OP_sub)->out[0]->name = "unheard";
}
static void attr_gone(struct graph *g) {
    find(g, OP_reduce)->attrs = find(g, OP_reduce)->attrs->next;
}
static void attr_more(struct graph *g) {
    op_set_attr(find(g, OP_sub), attr_int(g, "axis", 1, NULL));
}
static void attr_kind(struct graph *g) {
    op_set_attr(find(g, OP_reduce), attr_int(g, "axes", 1, NULL));
}
static void attr_value(struct graph *g) {
    op_set_attr(find(g, OP_reduce), attr_text(g, "kind", "median", NULL));
}
static void attr_dim_null(struct graph *g) {
    find(g, OP_broadcast)->attrs->dims ? (void)(find(g, OP_broadcast)->attrs->dims[0] = NULL)
                                       : (void)(find(g, OP_broadcast)->attrs->next->dims[0] = NULL);
}
static void data_short(struct graph *g) {
    find(g, OP_constant)->data.n_bytes--;
}
static void data_none(struct graph *g) {
    find(g, OP_constant)->data.bytes = NULL;
}
static void region_more(struct graph *g) {
    graph_region(find(g, OP_composite), "extra");
}
static void region_gone(struct graph *g) {
    find(g, OP_composite)->n_regions = 0;
}
static void region_null(struct graph *g) {
    find(g, OP_if)->regions[1] = NULL;
}
static void region_shared(struct graph *g) {
    find(g, OP_if)->regions[1] = find(g, OP_if)->regions[0];
}
static void region_on_neg(struct graph *g) {
    graph_region(find(g, OP_neg), "body");
}
static void region_parent(struct graph *g) {
    find(g, OP_composite)->regions[0]->parent = NULL;
}
static void region_itself(struct graph *g) {
    find(g, OP_composite)->regions[0] = g;
}
static void region_input(struct graph *g) {
    find(g, OP_composite)->regions[0]->n_in = 1;
}
static void region_output(struct graph *g) {
    graph_output(find(g, OP_composite)->regions[0], find(g, OP_composite)->regions[0]->in[0], NULL);
}
static void region_output_null(struct graph *g) {
    find(g, OP_composite)->regions[0]->out[0] = NULL;
}
static void region_output_outer(struct graph *g) {
    find(g, OP_composite)->regions[0]->out[0] = g->in[0];
}
static void output_null(struct graph *g) {
    g->out[0] = NULL;
}
static void output_inner(struct graph *g) {
    g->out[0] = find(g, OP_composite)->regions[0]->out[0];
}
static void output_pending(struct graph *g) {
    g->out[0] = find(g, OP_all_reduce)->out[0];
}
static void output_names(struct graph *g) {
    g->out_names[0] = g->out_names[1];
}
static void input_null(struct graph *g) {
    g->in[0] = NULL;
}
static void input_index(struct graph *g) {
    g->in[0]->index = 1;
}
static void input_owner(struct graph *g) {
    g->in[0]->op = g->first;
}
static void input_negative(struct graph *g) {
    g->in[0]->type.shape[1] = dim_const(g->dims, -1);
}
static void state_in(struct graph *g) {
    g->states[0].in = find(g, OP_sub)->out[0];
}
static void state_out(struct graph *g) {
    g->states[0].out = find(g, OP_sub)->out[0];
}
static void state_twice(struct graph *g) {
    graph_state(g, g->states[0].in, g->states[0].out);
}
static void mesh_gone(struct graph *g) {
    g->mesh.n = 0;
}
static void mesh_zero(struct graph *g) {
    g->mesh.size[0] = 0;
}
static void mesh_name(struct graph *g) {
    g->mesh.name[0] = NULL;
}
static void layout_twice(struct graph *g) {
    g->in[0]->layout.order[0] = 1, g->in[0]->layout.order[1] = 1;
}
static void layout_far(struct graph *g) {
    g->in[0]->layout.order[0] = 7;
}
static void shard_unknown(struct graph *g) {
    g->in[0]->shard.axis[0] = "dp";
}
static void shard_twice(struct graph *g) {
    g->in[0]->shard.axis[0] = g->in[0]->shard.axis[1] = "tp";
}
static void partial_unknown(struct graph *g) {
    g->in[0]->shard.partial = "dp";
}
static void is_a_region(struct graph *g) {
    g->parent = find(g, OP_composite)->regions[0];
}

#define M(name)                                                                                                        \
    { name, #name }
static const struct {
    void (*fn)(struct graph *g);
    const char *name;
} mutants[] = {
    M(operand_later),       M(operand_itself),    M(operand_null),  M(operand_inner),   M(operand_outer),
    M(operand_count),       M(operand_negative),  M(operand_shape), M(moved_up),        M(moved_bind),
    M(producer_gone),       M(bind_gone),         M(wait_gone),     M(wait_skipped),    M(cycle_next),
    M(cycle_middle),        M(list_cut),          M(list_prev),     M(last_wrong),      M(graph_wrong),
    M(kind_wrong),          M(kind_other),        M(kind_one),      M(result_null),     M(result_count),
    M(result_index),        M(result_owner),      M(result_shared), M(result_dtype),    M(result_dtype_none),
    M(result_shape),        M(result_shape_null), M(result_rank),   M(result_rank_big), M(result_symbol),
    M(name_twice),          M(name_null),         M(name_by_hand),  M(attr_gone),       M(attr_more),
    M(attr_kind),           M(attr_value),        M(attr_dim_null), M(data_short),      M(data_none),
    M(region_more),         M(region_gone),       M(region_null),   M(region_shared),   M(region_on_neg),
    M(region_parent),       M(region_itself),     M(region_input),  M(region_output),   M(region_output_null),
    M(region_output_outer), M(output_null),       M(output_inner),  M(output_pending),  M(output_names),
    M(input_null),          M(input_index),       M(input_owner),   M(input_negative),  M(state_in),
    M(state_out),           M(state_twice),       M(mesh_gone),     M(mesh_zero),       M(mesh_name),
    M(layout_twice),        M(layout_far),        M(shard_unknown), M(shard_twice),     M(partial_unknown),
    M(is_a_region),
};

static void test_mutants(void **state) {
    int bad = 0;
    for (size_t i = 0; i < COUNT(mutants); i++) {
        struct arena *arena = arena_open();
        struct graph *g;
        if (graph_parse(arena, sound, "sound", &g) != YJ_OK) fail_msg("%s", yj_error_text());
        mutants[i].fn(g);
        if (graph_verify(g) == YJ_OK) print_error("the mutant %s is accepted\n", mutants[i].name), bad++;
        assert_true(strlen(yj_error_text()) > 5);
        arena_close(arena);
    }
    assert_int_equal(bad, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts), cmocka_unit_test(test_mutants)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
