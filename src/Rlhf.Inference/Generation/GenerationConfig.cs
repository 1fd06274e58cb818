using System.ComponentModel;
using Rlhf.Runtime;

namespace Rlhf.Generation;

/// <summary>How responses are sampled. The defaults are the lesson's: pure sampling from the model's own distribution.</summary>
/// <remarks>
/// Names and meaning are those of transformers' GenerationConfig, except that top-k is off unless asked for (transformers: 50).
/// </remarks>
[MayChange]
public sealed record GenerationConfig
{
    /// <summary>Sample; false takes the most likely token.</summary>
    [Description("Sample from the distribution; false takes the most likely token (greedy).")]
    public bool DoSample { get; init; } = true;

    /// <summary>Divides the logits. 1 leaves the distribution unchanged.</summary>
    [Description("Divides the logits: below 1 sharper, above 1 flatter.")]
    public double Temperature { get; init; } = 1.0;

    /// <summary>Keep the k most likely tokens (ties kept); 0 keeps all.</summary>
    [Description("Keep only the k most likely tokens; 0 keeps all.")]
    public int TopK { get; init; }

    /// <summary>Keep the most likely tokens that together reach this probability; 1 keeps all.</summary>
    [Description("Keep the most likely tokens that together reach this probability; 1 keeps all.")]
    public double TopP { get; init; } = 1.0;

    /// <summary>Keep tokens at least this fraction as likely as the most likely one; null keeps all.</summary>
    [Description("Keep tokens at least this fraction as likely as the most likely one.")]
    public double? MinP { get; init; }

    /// <summary>
    /// Locally typical sampling: keep the tokens nearest to the entropy that together reach this probability; 1 keeps all.
    /// </summary>
    [Description("Locally typical sampling mass; 1 keeps all.")]
    public double TypicalP { get; init; } = 1.0;

    /// <summary>Divides positive and multiplies negative logits of tokens that are already in the text; 1 is off.</summary>
    [Description("Penalty on tokens already in the text; 1 is off.")]
    public double RepetitionPenalty { get; init; } = 1.0;

    /// <summary>No n-gram of this many tokens occurs twice in query and response; 0 is off.</summary>
    [Description("No n-gram of this size occurs twice; 0 is off.")]
    public int NoRepeatNgramSize { get; init; }

    /// <summary>
    /// The end token is impossible until query and response together have this many tokens; 0 and the lesson's -1 are off.
    /// </summary>
    [Description("Tokens of query and response before the end token is possible; 0 and -1 are off.")]
    public int MinLength { get; init; } = -1;

    /// <summary>The end token is impossible until the response has this many tokens; 0 is off.</summary>
    [Description("Response tokens before the end token is possible; 0 is off.")]
    public int MinNewTokens { get; init; }

    /// <summary>Most tokens of a response, where the call gives no length of its own.</summary>
    [Description("Most tokens of a response.")]
    public int MaxNewTokens { get; init; } = 20;

    /// <summary>
    /// Token that ends a response; null takes the model's. A negative id means that nothing ends a response early.
    /// </summary>
    [Description("Token that ends a response; default: the model's; negative: none.")]
    public int? EosTokenId { get; init; }

    /// <summary>
    /// True when sampling leaves the model's distribution as it is, so that the sampler's logprobs are the policy's own.
    /// </summary>
    public bool IsUnwarped => DoSample && Temperature == 1.0 && TopK == 0 && TopP == 1.0 && MinP is null or 0 && TypicalP == 1.0
        && RepetitionPenalty == 1.0 && NoRepeatNgramSize == 0 && MinLength <= 0 && MinNewTokens <= 0;

    /// <summary>Every problem of these settings, one sentence each.</summary>
    public IEnumerable<string> Validate()
    {
        if (!(Temperature > 0))
            yield return $"Temperature is {Temperature}; it must be above 0. For the most likely token set DoSample to false.";
        if (TopK < 0) yield return $"TopK is {TopK}; it must be 0 (off) or more.";
        if (!(TopP is > 0 and <= 1)) yield return $"TopP is {TopP}; it must be above 0 and at most 1.";
        if (MinP is { } m && !(m is >= 0 and <= 1)) yield return $"MinP is {m}; it must be from 0 to 1.";
        if (!(TypicalP is > 0 and <= 1)) yield return $"TypicalP is {TypicalP}; it must be above 0 and at most 1.";
        if (!(RepetitionPenalty > 0)) yield return $"RepetitionPenalty is {RepetitionPenalty}; it must be above 0.";
        if (NoRepeatNgramSize < 0) yield return $"NoRepeatNgramSize is {NoRepeatNgramSize}; it must be 0 (off) or more.";
        if (MinLength < -1) yield return $"MinLength is {MinLength}; it must be -1 or 0 (off) or more.";
        if (MinNewTokens < 0) yield return $"MinNewTokens is {MinNewTokens}; it must be 0 (off) or more.";
        if (MaxNewTokens < 1) yield return $"MaxNewTokens is {MaxNewTokens}; it must be at least 1.";
    }
}
