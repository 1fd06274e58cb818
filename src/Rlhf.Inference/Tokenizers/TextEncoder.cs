namespace Rlhf.Tokenizers;

/// <summary>Encodes texts with truncation and padding as transformers does.</summary>
public static class TextEncoder
{
    /// <summary>A text, or two, as ids and token types.</summary>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="text">The text.</param>
    /// <param name="pair">A second text; null or empty is none.</param>
    /// <param name="options">Truncation and special tokens; null is the default. Padding is for rows: see
    /// <see cref="EncodeBatch"/>.</param>
    /// <exception cref="ArgumentException">The text that may be cut is too short for that, or the special tokens do not fit.</exception>
    public static TextEncoding EncodeText(
        this ITokenizer tokenizer, string text, string? pair = null, EncodingOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        options ??= new();
        int[] first = tokenizer.Encode(text, addSpecialTokens: false);
        int[]? second = string.IsNullOrEmpty(pair) ? null : tokenizer.Encode(pair, addSpecialTokens: false);
        var template = options.AddSpecialTokens ? tokenizer.Template : SequenceTemplate.None;
        int added = second is null ? template.SingleCount : template.PairCount;
        if (options.Truncation != TruncationStrategy.None)
        {
            int room = options.MaxLength >= added ? options.MaxLength - added : throw new ArgumentException(
                $"MaxLength is {options.MaxLength}, and the special tokens alone take {added} ids.", nameof(options));
            (first, second) = Truncate(first, second, room, options);
        }
        return second is null
            ? new([.. template.Before, .. first, .. template.After], Types(
                template.SingleTypes, template.Before.Count, [first.Length], [template.After.Count], 0))
            : new([.. template.PairBefore, .. first, .. template.PairBetween, .. second, .. template.PairAfter], Types(
                template.PairTypes, template.PairBefore.Count, [first.Length, second.Length],
                [template.PairBetween.Count, template.PairAfter.Count], template.MarksSecondText ? 1 : 0));
    }

    /// <summary>Texts as rows of ids, cut and filled up.</summary>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="texts">One text for each row.</param>
    /// <param name="options">How; null is the default.</param>
    /// <exception cref="ArgumentException">Rows are to be filled and there is neither a padding nor an end token, or no length.</exception>
    public static PaddedBatch EncodeBatch(this ITokenizer tokenizer, IReadOnlyList<string> texts, EncodingOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(texts);
        options ??= new();
        int[][] rows = [.. texts.Select(t => tokenizer.EncodeText(t, null, options).InputIds)];
        if (options.Padding == PaddingStrategy.None)
            return new(rows, [.. rows.Select(r => r.Select(_ => 1).ToArray())], [.. rows.Select(r => r.Length)]);
        if (options.Padding == PaddingStrategy.MaxLength && options.MaxLength == int.MaxValue)
            throw new ArgumentException("Padding to MaxLength needs one; set it, or pad to the longest row.", nameof(options));
        ArgumentOutOfRangeException.ThrowIfLessThan(options.PadToMultipleOf, 1, nameof(options));
        int padding = options.PadTokenId ?? tokenizer.PadTokenId ?? tokenizer.EosTokenId
            ?? throw new ArgumentException("The tokenizer has no padding and no end token to fill rows with; name PadTokenId.", nameof(options));
        int longest = rows.Select(r => r.Length).DefaultIfEmpty(0).Max();
        int length = options.Padding == PaddingStrategy.MaxLength ? Math.Max(options.MaxLength, longest) : longest;
        length = checked((length + options.PadToMultipleOf - 1) / options.PadToMultipleOf * options.PadToMultipleOf);
        var side = options.PaddingSide ?? (tokenizer as PretrainedTokenizer)?.Settings.PaddingSide ?? PaddingSide.Right;
        return PaddedBatch.Create(rows, padding, side, length);
    }

    private static (int[] First, int[]? Second) Truncate(int[] first, int[]? second, int room, EncodingOptions options)
    {
        int total = first.Length + (second?.Length ?? 0), excess = total - room;
        if (excess <= 0)
            return (first, second);
        if (options.Truncation == TruncationStrategy.LongestFirst)
        {
            var (firstLength, secondLength) = second is null ? (room, 0)
                : PretrainedTokenizer.LongestFirst(first.Length, second.Length, room);
            return (Cut(first, firstLength, options.TruncationSide),
                second is null ? null : Cut(second, secondLength, options.TruncationSide));
        }
        bool onlyFirst = options.Truncation == TruncationStrategy.OnlyFirst;
        int[] cut = onlyFirst ? first : second
            ?? throw new ArgumentException("OnlySecond needs a second text.", nameof(options));
        if (cut.Length <= excess)
            throw new ArgumentException($"The {(onlyFirst ? "first" : "second")} text has {cut.Length} tokens, and {excess} would have to go; "
                + $"raise MaxLength ({options.MaxLength}), or cut {nameof(TruncationStrategy.LongestFirst)}.", nameof(options));
        cut = Cut(cut, cut.Length - excess, options.TruncationSide);
        return onlyFirst ? (cut, second) : (first, cut);
    }

    private static int[] Cut(int[] ids, int length, TruncationSide side) =>
        side == TruncationSide.Left ? ids[^length..] : ids[..length];

    /// <summary>Token types of ids: of each special one and each text in the template's order.</summary>
    private static int[] Types(IReadOnlyList<int>? types, int before, int[] texts, int[] after, int second)
    {
        var result = new List<int>();
        int at = 0;
        void Add(int count, int otherwise)
        {
            for (int i = 0; i < count; i++)
                result.Add(types?[at + i] ?? otherwise);
            at += count;
        }
        Add(before, 0);
        for (int text = 0; text < texts.Length; text++)
        {
            int type = types?[at] ?? (text == 0 ? 0 : second);
            result.AddRange(Enumerable.Repeat(type, texts[text]));
            at++;
            Add(after[text], text == 0 ? 0 : second);
        }
        return [.. result];
    }
}
