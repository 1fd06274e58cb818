using System.Text.Json.Nodes;
using Rlhf.Generation;
using Rlhf.Tokenizers;

namespace Rlhf.Serving;

/// <summary>Tokens with their logprobs as OpenAI's completions give them, and evaluation harnesses read them.</summary>
internal static class CompletionLogprobs
{
    /// <param name="tokenizer">Makes tokens readable.</param>
    /// <param name="tokens">Tokens of the text, each with what the model gives for it; null for the first of a prompt.</param>
    /// <param name="beforeText">How many of the first tokens are not in the text, such as one that begins every text.</param>
    public static JsonObject Of(ITokenizer tokenizer, IEnumerable<(int Id, TokenLogprobs? Score)> tokens, int beforeText)
    {
        JsonArray texts = [], logprobs = [], top = [], offsets = [];
        var pending = new List<int>();
        int offset = 0;
        foreach (var (id, score) in tokens)
        {
            texts.Add(tokenizer.Decode([id]));
            // Nothing precedes the first token of a text, so nothing is known of it.
            logprobs.Add(score is null ? null : Number(score.Logprob));
            top.Add(score is null || score.Top.Count == 0 ? null : Top(tokenizer, score));
            offsets.Add(offset);
            if (texts.Count <= beforeText)
                continue;
            // A character may take several tokens; the text is longer by it with the last of them.
            pending.Add(id);
            if (tokenizer.Decode([.. pending]) is var text && (!text.EndsWith('\uFFFD') || pending.Count >= 4))
            {
                offset += text.Length;
                pending.Clear();
            }
        }
        return new() { ["tokens"] = texts, ["token_logprobs"] = logprobs, ["top_logprobs"] = top, ["text_offset"] = offsets };
    }

    /// <summary>JSON has no infinity; OpenAI writes -9999 for what cannot come.</summary>
    public static JsonValue Number(float logprob) => JsonValue.Create(float.IsFinite(logprob) ? logprob : -9999f);

    /// <summary>The likeliest tokens, and the one that is there.</summary>
    private static JsonObject Top(ITokenizer tokenizer, TokenLogprobs score)
    {
        var all = new JsonObject();
        foreach (var (id, logprob) in score.Top.Append((score.Id, score.Logprob)))
            all.TryAdd(tokenizer.Decode([id]), Number(logprob));
        return all;
    }
}
