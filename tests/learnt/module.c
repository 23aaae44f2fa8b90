/* A module for the tests: commands that Keyway can know only from the servers.
 *
 * No header of Redis or Valkey is needed; what is used of their interface is declared here, as
 * redismodule.h has it. */

#include <stdint.h>
#include <stddef.h>

typedef struct Ctx Ctx;
typedef struct Str Str;
typedef struct Reply Reply;
typedef struct Cmd Cmd;
typedef int (*Handler)(Ctx *, Str **, int);

enum { OK = 0, ERR = 1, API_VERSION = 1 };

typedef struct { const char *since, *changes; } History;
typedef struct {
    const char *notes;
    uint64_t flags;
    int begin_type;
    union { struct { int pos; } index; struct { const char *word; int from; } keyword; } begin;
    int find_type;
    union { struct { int last, step, limit; } range; struct { int index, first, step; } count; } find;
} KeySpec;
typedef struct Arg {
    const char *name;
    int type, key_spec;
    const char *token, *summary, *since;
    int flags;
    const char *deprecated;
    struct Arg *subargs;
    const char *display;
} Arg;
typedef struct { int version; size_t history, keyspec, arg; } InfoVersion;
typedef struct {
    const InfoVersion *version;
    const char *summary, *complexity, *since;
    History *history;
    const char *tips;
    int arity;
    KeySpec *specs;
    Arg *args;
} Info;

static int (*get_api)(const char *, void *);
static void (*set_attributes)(Ctx *, const char *, int, int);
static int (*create_command)(Ctx *, const char *, Handler, const char *, int, int, int);
static Cmd *(*get_command)(Ctx *, const char *);
static int (*set_info)(Cmd *, const Info *);
static Reply *(*call)(Ctx *, const char *, const char *, ...);
static int (*reply_with)(Ctx *, Reply *);
static int (*reply_array)(Ctx *, long);
static int (*reply_error)(Ctx *, const char *);
static int (*wrong_arity)(Ctx *);
static int (*is_keys_request)(Ctx *);
static void (*key_at)(Ctx *, int);
static int (*to_number)(const Str *, long long *);

static int set_key(Ctx *ctx, Str **argv, int argc) {
    if (argc != 3) return wrong_arity(ctx);
    return reply_with(ctx, call(ctx, "SET", "ss!", argv[1], argv[2]));
}

static int get_key(Ctx *ctx, Str **argv, int argc) {
    if (argc != 2) return wrong_arity(ctx);
    return reply_with(ctx, call(ctx, "GET", "s", argv[1]));
}

static int get_keys(Ctx *ctx, Str **argv, int argc) {
    if (argc < 2) return wrong_arity(ctx);
    reply_array(ctx, argc - 1);
    for (int i = 1; i < argc; i++) reply_with(ctx, call(ctx, "GET", "s", argv[i]));
    return OK;
}

static int count_keys(Ctx *ctx, Str **argv, int argc) {
    (void)argv, (void)argc;
    return reply_with(ctx, call(ctx, "DBSIZE", ""));
}

/* TEST.AT n ...: argument n is the key. */
static int get_at(Ctx *ctx, Str **argv, int argc) {
    long long at = 0;
    int is_wrong = argc < 3 || to_number(argv[1], &at) != OK || at < 2 || at >= argc;
    if (is_keys_request(ctx)) {
        if (!is_wrong) key_at(ctx, (int)at);
        return OK;
    }
    if (is_wrong) return reply_error(ctx, "ERR there is no such argument");
    return reply_with(ctx, call(ctx, "GET", "s", argv[at]));
}

static int with_tips(Ctx *ctx, const char *name, const char *tips, int arity) {
    static const InfoVersion version = { 1, sizeof(History), sizeof(KeySpec), sizeof(Arg) };
    Info info = { .version = &version, .tips = tips, .arity = arity };
    return set_info(get_command(ctx, name), &info);
}

int RedisModule_OnLoad(Ctx *ctx, Str **argv, int argc) {
    (void)argv, (void)argc;
    get_api = (int (*)(const char *, void *))((void **)ctx)[0];
    get_api("RedisModule_SetModuleAttribs", &set_attributes);
    get_api("RedisModule_CreateCommand", &create_command);
    get_api("RedisModule_GetCommand", &get_command);
    get_api("RedisModule_SetCommandInfo", &set_info);
    get_api("RedisModule_Call", &call);
    get_api("RedisModule_ReplyWithCallReply", &reply_with);
    get_api("RedisModule_ReplyWithArray", &reply_array);
    get_api("RedisModule_ReplyWithError", &reply_error);
    get_api("RedisModule_WrongArity", &wrong_arity);
    get_api("RedisModule_IsKeysPositionRequest", &is_keys_request);
    get_api("RedisModule_KeyAtPos", &key_at);
    get_api("RedisModule_StringToLongLong", &to_number);
    set_attributes(ctx, "test", 1, API_VERSION);
    if (create_command(ctx, "test.set", set_key, "write", 1, 1, 1) != OK) return ERR;
    if (create_command(ctx, "test.get", get_key, "readonly", 1, 1, 1) != OK) return ERR;
    if (create_command(ctx, "test.mget", get_keys, "readonly", 1, -1, 1) != OK) return ERR;
    if (create_command(ctx, "test.count", count_keys, "readonly", 0, 0, 0) != OK) return ERR;
    if (create_command(ctx, "test.at", get_at, "readonly getkeys-api", 2, 2, 1) != OK) return ERR;
    if (with_tips(ctx, "test.mget", "request_policy:multi_shard", -2) != OK) return ERR;
    if (with_tips(ctx, "test.count", "request_policy:all_shards response_policy:agg_sum", 1) != OK)
        return ERR;
    return OK;
}
