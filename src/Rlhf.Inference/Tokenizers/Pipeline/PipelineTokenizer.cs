using System.Text.Json.Nodes;
using Rlhf.Tokenizers.Pipeline.Decoders;
using Rlhf.Tokenizers.Pipeline.Normalizers;

namespace Rlhf.Tokenizers.Pipeline;

/// <summary>The stations of a tokenizer.json, put together.</summary>
/// <param name="Normalizer">Changes text first; null changes nothing.</param>
/// <param name="First">What text goes through after that: pre-tokenizers, then the model.</param>
/// <param name="Decoder">Turns tokens into text; null joins them with spaces.</param>
/// <param name="File">Where they were read, for messages.</param>
internal sealed record PipelineParts(Normalizer? Normalizer, Stage First, TokenDecoder? Decoder, string File)
{
    /// <summary>See <see cref="ITokenizer.SplitsAtSpaces"/>.</summary>
    public bool SplitsAtSpaces { get; init; }
}

/// <summary>
/// A tokenizer as tokenizer.json describes it: normalizers, pre-tokenizers, a model (BPE, Unigram, WordPiece, WordLevel), decoders.
/// </summary>
/// <remarks>
/// Encoding and decoding throw <see cref="InvalidDataException"/> where a pattern of the file takes seconds, or its rules multiply text:
/// no published tokenizer does either.
/// </remarks>
public sealed class PipelineTokenizer : PretrainedTokenizer
{
    private readonly PipelineParts parts;
    private readonly AddedTokenMatcher normalizedTokens;

    internal PipelineTokenizer(IReadOnlyDictionary<string, int> vocabulary, TokenizerSettings settings, PipelineParts parts)
        : base(vocabulary, settings)
    {
        this.parts = parts;
        try
        {
            normalizedTokens = NormalizedTokens(Normalize);
        }
        catch (PipelineLimitException e)
        {
            throw Exceeded(e);
        }
    }

    /// <inheritdoc/>
    public override bool SplitsAtSpaces => parts.SplitsAtSpaces;

    private protected override void EncodeText(ReadOnlySpan<char> text, List<int> ids, TextPlace place)
    {
        try
        {
            Encode(text, ids, place);
        }
        catch (PipelineLimitException e)
        {
            throw Exceeded(e);
        }
    }

    private void Encode(ReadOnlySpan<char> text, List<int> ids, TextPlace place)
    {
        if (text.IndexOfAnyInRange('\uD800', '\uDFFF') >= 0)
            text = WithoutLoneSurrogates(text);
        if (parts.Normalizer is { } normalizer)
            text = normalizer.Normalize(text.ToString(), place == TextPlace.Continuation);
        for (int at = 0; at < text.Length;)
        {
            var token = normalizedTokens.Next(text, at, out int start, out int end);
            if (start > at)
                parts.First.Take(text[at..start], at == 0 ? place : TextPlace.Inside, ids);
            if (token is not null)
                ids.Add(token.Id);
            at = end;
        }
    }

    private protected override string Join(List<string> pieces, bool continues)
    {
        if (parts.Decoder is null)
            return string.Join(' ', pieces);
        try
        {
            long length = pieces.Sum(p => (long)p.Length);
            parts.Decoder.Decode(pieces, continues);
            Growth.Check(length, pieces.Sum(p => (long)p.Length));
            return string.Concat(pieces);
        }
        catch (PipelineLimitException e)
        {
            throw Exceeded(e);
        }
    }

    /// <summary>An added token as it is looked for and spelled; a text may hold thousands of them.</summary>
    private string Normalize(string token)
    {
        const int LongestPrefix = 1 << 10;
        var normalized = parts.Normalizer?.Normalize(token, continues: false) ?? token;
        Growth.Check(token.Length, normalized.Length, LongestPrefix);
        return normalized;
    }

    private InvalidDataException Exceeded(PipelineLimitException error) => new($"{parts.File}: {error.Message}", error);

    private protected override void SaveVocabulary(string folder)
    {
        // All of it is in tokenizer.json, which is written back as it was.
    }

    /// <summary>The file is written back as it was.</summary>
    internal override JsonObject? AlgorithmJson() => null;

    internal override IEnumerable<(string Name, JsonNode? Value)> AlgorithmConfiguration() => [];

    private static string WithoutLoneSurrogates(ReadOnlySpan<char> text)
    {
        var clean = new System.Text.StringBuilder(text.Length);
        foreach (var rune in text.EnumerateRunes())
            clean.Append(rune);
        return clean.ToString();
    }
}
