using System.Text;

namespace Rlhf.Tokenizers.Chat;

/// <summary>Which characters of a text each of its tokens stands for.</summary>
/// <remarks>
/// Found from the tokens' own texts: the pieces of byte-level vocabularies and of those that write a space as U+2581 join up to the text,
/// or to its NFC or NFKC form. Where they do not (lower case, unknown tokens), places are found by encoding the text's beginning.
/// </remarks>
internal sealed class TokenAlignment
{
    private readonly ITokenizer _tokenizer;
    private readonly string _text;
    private readonly int[] _ids;
    private readonly NormalizationForm? _form;
    private readonly (int Start, int End)[]? _ranges;

    public TokenAlignment(ITokenizer tokenizer, string text, int[] ids)
    {
        (_tokenizer, _text, _ids) = (tokenizer, text, ids);
        var added = (tokenizer as PretrainedTokenizer)?.Settings.AddedTokens.ToLookup(x => x.Id);
        foreach (NormalizationForm? form in new NormalizationForm?[] { null, NormalizationForm.FormC, NormalizationForm.FormKC })
            foreach (bool byteLevel in new[] { true, false })
                if (Ranges(Bytes(text, form), id => added?[id].FirstOrDefault() is { } token ? (Encoding.UTF8.GetBytes(token.Content), token)
                    : (byteLevel ? BytesOfSymbols(tokenizer.IdToToken(id)) : BytesOfPiece(tokenizer.IdToToken(id)), null)) is { } ranges)
                {
                    (_form, _ranges) = (form, ranges);
                    return;
                }
    }

    /// <summary>The first token that stands for a character, at least in part; the number of tokens behind the last.</summary>
    /// <param name="index">The character's place, in UTF-16 units.</param>
    public int TokenAt(int index)
    {
        if (_ranges is null)
            return _ids.AsSpan().CommonPrefixLength(_tokenizer.OfRendered(_text[..index]));
        int place = Bytes(_text[..index], _form).Length;
        int low = 0, high = _ranges.Length; // the first that ends behind the character's first byte
        while (low < high)
        {
            int middle = (low + high) / 2;
            (low, high) = _ranges[middle].End > place ? (low, middle) : (middle + 1, high);
        }
        return low;
    }

    private static byte[] Bytes(string text, NormalizationForm? form)
    {
        if (form is null)
            return Encoding.UTF8.GetBytes(text);
        text = Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text)); // halves of surrogate pairs cannot be normalized
        return Encoding.UTF8.GetBytes(text.Normalize(form.Value));
    }

    private static byte[] BytesOfSymbols(string token)
    {
        var bytes = new List<byte>(token.Length);
        ByteLevel.AppendBytes(token, bytes);
        return [.. bytes];
    }

    /// <summary>The bytes of a piece: U+2581 is a space, and &lt;0x0A&gt; a byte.</summary>
    private static byte[] BytesOfPiece(string piece) => piece is ['<', '0', 'x', var high, var low, '>']
        && char.IsAsciiHexDigit(high) && char.IsAsciiHexDigit(low) ? [Convert.ToByte($"{high}{low}", 16)]
        : Encoding.UTF8.GetBytes(piece.Replace('\u2581', ' '));

    /// <summary>Bytes of the text that each token stands for; null where the tokens do not join up to it.</summary>
    private (int, int)[]? Ranges(byte[] text, Func<int, (byte[] Bytes, AddedToken? Added)> piece)
    {
        var ranges = new (int, int)[_ids.Length];
        int place = 0;
        for (int t = 0; t < _ids.Length; t++)
        {
            var (bytes, added) = piece(_ids[t]);
            int start = place;
            if (added is not null)
                while (place < text.Length && !text.AsSpan(place).StartsWith(bytes) && text[place] is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t')
                    place++; // white space that the token takes in
            if (text.AsSpan(place).StartsWith(bytes) && bytes.Length > 0)
                place += bytes.Length;
            else if (bytes is [(byte)' ', .. var rest] && text.AsSpan(place).StartsWith(rest))
                place += rest.Length; // a space put before the first word
            else
                return null;
            if (added is { RightStrip: true })
                while (place < text.Length && text[place] is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t')
                    place++;
            ranges[t] = (start, place);
        }
        return place == text.Length ? ranges : null;
    }
}
