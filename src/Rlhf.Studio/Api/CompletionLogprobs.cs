using System.Text.Json.Nodes;
using Rlhf.Generation;
using Rlhf.Tokenizers;

namespace Rlhf.Studio.Api;

/// <summary>Tokens with their logprobs as OpenAI's completions give them, and evaluation harnesses read them.</summary>
internal static class CompletionLogprobs
{
    /// <param name="tokenizer">Makes tokens readable.</param>
    /// <param name="ids">All tokens of prompt and completion.</param>
    /// <param name="scores">What the model gives for each but the first.</param>
    /// <param name="start">The first token that is told of.</param>
    public static JsonObject Of(ITokenizer tokenizer, int[] ids, IReadOnlyList<TokenLogprobs> scores, int start)
    {
        JsonArray tokens = [], logprobs = [], top = [], offsets = [];
        var pending = new List<int>();
        int offset = 0;
        for (int i = start; i < ids.Length; i++)
        {
            tokens.Add(tokenizer.Decode([ids[i]]));
            // Nothing precedes the first token of a text, so nothing is known of it.
            logprobs.Add(i == 0 ? null : Number(scores[i - 1].Logprob));
            top.Add(i == 0 || scores[i - 1].Top.Count == 0 ? null : Top(tokenizer, scores[i - 1]));
            offsets.Add(offset);
            // A character may take several tokens; the text is longer by it with the last of them.
            pending.Add(ids[i]);
            if (tokenizer.Decode([.. pending]) is var text && (!text.EndsWith('\uFFFD') || pending.Count >= 4))
            {
                offset += text.Length;
                pending.Clear();
            }
        }
        return new() { ["tokens"] = tokens, ["token_logprobs"] = logprobs, ["top_logprobs"] = top, ["text_offset"] = offsets };
    }

    /// <summary>The likeliest tokens, and the one that is there.</summary>
    private static JsonObject Top(ITokenizer tokenizer, TokenLogprobs score)
    {
        var all = new JsonObject();
        foreach (var (id, logprob) in score.Top.Append((score.Id, score.Logprob)))
            all.TryAdd(tokenizer.Decode([id]), Number(logprob));
        return all;
    }

    /// <summary>JSON has no infinity; OpenAI writes -9999 for what cannot come.</summary>
    private static JsonValue Number(float logprob) => JsonValue.Create(float.IsFinite(logprob) ? logprob : -9999f);
}
