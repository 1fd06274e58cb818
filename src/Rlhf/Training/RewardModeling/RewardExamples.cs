using Rlhf.Data;
using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using TorchSharp;

namespace Rlhf.Training.RewardModeling;

/// <summary>A stretch of a text's tokens, without the special tokens around it.</summary>
internal readonly record struct TokenStretch(int[] Tokens, int Start, int Length)
{
    public ReadOnlySpan<int> Span => Tokens.AsSpan(Start, Length);
}

/// <summary>What a reward model learns from: one labeled text, or the chosen and the rejected text of a pair.</summary>
/// <param name="Text">The labeled or chosen text.</param>
/// <param name="Rejected">The rejected text of a pair, cut as <paramref name="Text"/> is; null for labeled texts.</param>
/// <param name="Target">The label, or the pair's margin.</param>
/// <param name="MaxLength">Most tokens of a text, special tokens left out.</param>
internal sealed record RewardExample(TokenStretch Text, TokenStretch? Rejected, double Target, int MaxLength)
{
    private const int ShortestCrop = 4, LongestCrop = 40;

    /// <summary>Has the example something to say? Two texts of a pair that are the same, once they are cut, have not.</summary>
    public bool IsDistinguishable => Rejected is not { } rejected || !Text.Span.SequenceEqual(rejected.Span);

    /// <summary>Tokens in all, special tokens left out.</summary>
    public int Length => Text.Length + (Rejected?.Length ?? 0);

    /// <summary>
    /// With a probability, a random stretch of 4 to 40 tokens from anywhere in the whole text; otherwise the example as it is.
    /// </summary>
    public RewardExample Crop(double probability, RandomStream random)
    {
        if (random.NextDouble() >= probability)
            return this;
        int length = Math.Min(random.NextInt32(ShortestCrop, LongestCrop + 1), Math.Min(MaxLength, Text.Tokens.Length));
        return this with { Text = Text with { Start = random.NextInt32(0, Text.Tokens.Length - length + 1), Length = length } };
    }
}

/// <summary>Turns texts into examples and examples into packed batches.</summary>
internal sealed class RewardExamples(ITokenizer tokenizer, int maxLength)
{
    /// <summary>Most tokens of a text, special tokens included.</summary>
    public int MaxLength => maxLength;

    // What scoring puts around a text, so that a model learns what it will meet.
    private readonly IReadOnlyList<int> prefix = tokenizer.Template.Before, suffix = tokenizer.Template.After;

    /// <summary>Most tokens of a text between the special tokens.</summary>
    private int ContentLength => maxLength - prefix.Count - suffix.Count;

    public RewardExample[] Encode(IReadOnlyList<Review> reviews) =>
        [.. reviews.AsParallel().AsOrdered().Select(r => new RewardExample(Encode(r.Text), null, r.Label!.Value, ContentLength))];

    public RewardExample[] Encode(IReadOnlyList<PreferencePair> pairs) =>
        [.. pairs.AsParallel().AsOrdered().Select(p =>
            new RewardExample(Encode(p.Prompt, p.Chosen), Encode(p.Prompt, p.Rejected), p.Margin ?? 0, ContentLength))];

    /// <summary>Rows with the special tokens around them ([CLS] text [SEP]): the texts of all examples, then the rejected texts of all examples.</summary>
    public PackedBatch Pack(IReadOnlyList<RewardExample> minibatch, torch.Device device)
    {
        var rejected = minibatch.Select(e => e.Rejected).OfType<TokenStretch>();
        return PackedBatch.FromRows([.. minibatch.Select(e => Row(e.Text)), .. rejected.Select(Row)], device);
    }

    /// <summary>The whole text's tokens; what is used of them are the first ones that fit.</summary>
    private TokenStretch Encode(string text)
    {
        var tokens = tokenizer.Encode(text, addSpecialTokens: false);
        return new(tokens, 0, Math.Min(tokens.Length, ContentLength));
    }

    /// <summary>Prompt and answer; where they do not fit, the beginning of the prompt goes first, then the end of the answer.</summary>
    private TokenStretch Encode(string prompt, string answer)
    {
        var tokens = tokenizer.Encode(prompt + answer, addSpecialTokens: false);
        return new(tokens, CompletionTokens.WindowStart(tokenizer, prompt, tokens, ContentLength), Math.Min(tokens.Length, ContentLength));
    }

    private int[] Row(TokenStretch text) => [.. prefix, .. text.Span, .. suffix];
}
