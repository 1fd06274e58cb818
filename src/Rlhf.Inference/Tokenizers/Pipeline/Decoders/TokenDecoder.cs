using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Rlhf.Tokenizers.Pipeline.Patterns;

namespace Rlhf.Tokenizers.Pipeline.Decoders;

/// <summary>Turns tokens into text, one step of several: each gets the tokens as the step before left them.</summary>
internal abstract class TokenDecoder
{
    /// <summary>Changes tokens, joins or splits them.</summary>
    /// <param name="tokens">The tokens; changed in place.</param>
    /// <param name="continues">They continue others: nothing is removed from the beginning of the first.</param>
    public abstract void Decode(List<string> tokens, bool continues);
}

/// <summary>Several, one after the other.</summary>
internal sealed class SequenceDecoder(IReadOnlyList<TokenDecoder> steps) : TokenDecoder
{
    public override void Decode(List<string> tokens, bool continues)
    {
        long length = tokens.Sum(t => (long)t.Length);
        foreach (var step in steps)
        {
            step.Decode(tokens, continues);
            Growth.Check(length, tokens.Sum(t => (long)t.Length));
        }
    }
}

/// <summary>A function of a token and its place.</summary>
internal sealed class EachDecoder(Func<string, int, int, string> change) : TokenDecoder
{
    public override void Decode(List<string> tokens, bool continues)
    {
        for (int i = 0; i < tokens.Count; i++)
            tokens[i] = change(tokens[i], i, tokens.Count);
    }
}

/// <summary>The bytes that the characters of GPT-2's alphabet stand for, as UTF-8.</summary>
internal sealed class ByteLevelDecoder : TokenDecoder
{
    public override void Decode(List<string> tokens, bool continues)
    {
        var bytes = new List<byte>(tokens.Count * 5);
        foreach (var token in tokens)
            ByteLevel.AppendBytes(token, bytes);
        tokens.Clear();
        tokens.Add(Encoding.UTF8.GetString(CollectionsMarshal.AsSpan(bytes)));
    }
}

/// <summary>Runs of &lt;0x..&gt; tokens are the bytes of text; of a run that is no valid UTF-8 each byte becomes U+FFFD.</summary>
internal sealed class ByteFallbackDecoder : TokenDecoder
{
    private static readonly UTF8Encoding Strict = new(false, throwOnInvalidBytes: true);

    public override void Decode(List<string> tokens, bool continues)
    {
        var result = new List<string>(tokens.Count);
        var bytes = new List<byte>();
        foreach (var token in tokens)
        {
            if (token.Length == 6 && token.StartsWith("<0x", StringComparison.Ordinal) && token[5] == '>'
                && byte.TryParse(token.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value))
            {
                bytes.Add(value);
                continue;
            }
            Flush(bytes, result);
            result.Add(token);
        }
        Flush(bytes, result);
        tokens.Clear();
        tokens.AddRange(result);
    }

    private static void Flush(List<byte> bytes, List<string> result)
    {
        if (bytes.Count == 0)
            return;
        try
        {
            result.Add(Strict.GetString(CollectionsMarshal.AsSpan(bytes)));
        }
        catch (DecoderFallbackException)
        {
            result.AddRange(Enumerable.Repeat("\uFFFD", bytes.Count));
        }
        bytes.Clear();
    }
}

/// <summary>Joins all tokens into one.</summary>
internal sealed class FuseDecoder : TokenDecoder
{
    public override void Decode(List<string> tokens, bool continues)
    {
        var whole = string.Concat(tokens);
        tokens.Clear();
        tokens.Add(whole);
    }
}

/// <summary>Replaces what a pattern matches in each token.</summary>
internal sealed class ReplaceDecoder(Matcher matcher, string by) : TokenDecoder
{
    public override void Decode(List<string> tokens, bool continues)
    {
        for (int i = 0; i < tokens.Count; i++)
            tokens[i] = matcher.Replace(tokens[i], by);
    }
}

/// <summary>Removes a character from the ends of each token, up to a number of times.</summary>
internal sealed class StripDecoder(string content, int start, int stop) : TokenDecoder
{
    public override void Decode(List<string> tokens, bool continues)
    {
        for (int i = 0; i < tokens.Count; i++)
        {
            var token = tokens[i].AsSpan();
            for (int n = 0; n < start && !(continues && i == 0) && token.StartsWith(content, StringComparison.Ordinal); n++)
                token = token[content.Length..];
            for (int n = 0; n < stop && token.EndsWith(content, StringComparison.Ordinal); n++)
                token = token[..^content.Length];
            if (token.Length < tokens[i].Length)
                tokens[i] = token.ToString();
        }
    }
}

/// <summary>Marks become spaces; those of the first token go, where one was put before the text.</summary>
internal sealed class MetaspaceDecoder(char mark, bool stripsFirst) : TokenDecoder
{
    public override void Decode(List<string> tokens, bool continues)
    {
        string visible = mark.ToString();
        for (int i = 0; i < tokens.Count; i++)
            tokens[i] = tokens[i].Replace(visible, i == 0 && stripsFirst && !continues ? "" : " ", StringComparison.Ordinal);
    }
}

/// <summary>Pieces that continue a word lose their prefix, others get a space before them.</summary>
internal sealed class WordPieceDecoder(string prefix, bool cleansUp) : TokenDecoder
{
    public override void Decode(List<string> tokens, bool continues)
    {
        for (int i = 0; i < tokens.Count; i++)
        {
            var piece = i == 0 && !continues ? tokens[i]
                : tokens[i].StartsWith(prefix, StringComparison.Ordinal) ? tokens[i][prefix.Length..] : " " + tokens[i];
            tokens[i] = cleansUp ? CleanUp(piece) : piece;
        }
    }

    /// <summary>Spaces before punctuation and short forms go.</summary>
    public static string CleanUp(string piece) =>
        PretrainedTokenizer.CleanUpSpaces(piece).Replace(" do not", " don't", StringComparison.Ordinal);
}
