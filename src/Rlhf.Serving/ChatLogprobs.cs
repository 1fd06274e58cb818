using System.Text;
using System.Text.Json.Nodes;
using Rlhf.Generation;
using Rlhf.Tokenizers;

namespace Rlhf.Serving;

/// <summary>Tokens with their logprobs as OpenAI's chats give them.</summary>
internal static class ChatLogprobs
{
    /// <param name="tokenizer">Makes tokens readable.</param>
    /// <param name="tokens">Tokens of an answer; special ones, such as what ends it, are left out.</param>
    public static JsonObject? Of(ITokenizer tokenizer, IReadOnlyList<TokenLogprobs>? tokens) => tokens is null ? null : new()
    {
        ["content"] = new JsonArray([.. tokens.Where(t => tokenizer.Decode([t.Id], skipSpecialTokens: true).Length > 0).Select(token =>
        {
            var one = One(tokenizer, token.Id, token.Logprob);
            one["top_logprobs"] = new JsonArray([.. token.Top.Select(top => One(tokenizer, top.Id, top.Logprob))]);
            return one;
        })]),
        ["refusal"] = null,
    };

    private static JsonObject One(ITokenizer tokenizer, int id, float logprob)
    {
        string text = tokenizer.DecodeContinuation([id]);
        return new()
        {
            ["token"] = text,
            ["logprob"] = CompletionLogprobs.Number(logprob),
            // A token that is part of a character has no text whose bytes could be given.
            ["bytes"] = text.Contains('\uFFFD', StringComparison.Ordinal) ? null
                : new JsonArray([.. Encoding.UTF8.GetBytes(text).Select(b => JsonValue.Create((int)b))]),
        };
    }
}
