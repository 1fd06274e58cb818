namespace Rlhf.Evaluation;

/// <summary>How well a language model predicts text, from the summed negative logprob of its tokens.</summary>
/// <remarks>
/// Perplexity is per token, so models with different vocabularies cannot be compared by it; bits per character and per byte can.
/// </remarks>
/// <param name="Nats">Sum of -ln p(token | tokens before it).</param>
/// <param name="Tokens">Tokens that were predicted.</param>
/// <param name="Characters">Characters (Unicode code points, as Python counts them) of those tokens.</param>
/// <param name="Bytes">Bytes of those tokens in UTF-8.</param>
public readonly record struct LanguageModelScore(double Nats, long Tokens, long Characters, long Bytes)
{
    /// <summary>
    /// exp(nats per token): the number of equally likely tokens that would be as hard to guess. 1 is certainty; NaN without
    /// tokens.
    /// </summary>
    public double Perplexity => Math.Exp(Nats / Tokens);

    /// <summary>Mean negative logprob of a token in nats: the loss that training shows.</summary>
    public double NatsPerToken => Nats / Tokens;

    /// <summary>Bits per character; NaN without characters.</summary>
    public double BitsPerCharacter => Nats / Math.Log(2) / Characters;

    /// <summary>Bits per UTF-8 byte; NaN without bytes.</summary>
    public double BitsPerByte => Nats / Math.Log(2) / Bytes;

    /// <summary>The score of two texts together.</summary>
    public static LanguageModelScore operator +(LanguageModelScore a, LanguageModelScore b) =>
        new(a.Nats + b.Nats, a.Tokens + b.Tokens, a.Characters + b.Characters, a.Bytes + b.Bytes);
}
