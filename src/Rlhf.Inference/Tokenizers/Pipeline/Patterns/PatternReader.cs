namespace Rlhf.Tokenizers.Pipeline.Patterns;

/// <summary>Patterns of tokenizer.json: <c>{"String": …}</c> or <c>{"Regex": …}</c>.</summary>
internal static class PatternReader
{
    /// <summary>GPT-2's own pattern, as files of other tools spell it out.</summary>
    private const string Gpt2Pattern = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    public static Matcher Read(JsonPlace pattern)
    {
        if (pattern.Text("String") is { } literal)
            return literal.Length > 0 ? new LiteralMatcher(literal) : throw pattern.Wrong("is empty; write the text to look for");
        var regex = pattern.Required("Regex");
        if (regex.Text() == Gpt2Pattern)
            return new Gpt2Words();
        if (ChatWords.For(regex.Text()) is { } words)
            return words;
        try
        {
            return new RegexMatcher(regex.Text());
        }
        catch (ArgumentException e)
        {
            // .NET's own messages begin with the pattern and end in what is wrong with it.
            var what = e is System.Text.RegularExpressions.RegexParseException ? "is not a valid regular expression" : e.Message;
            throw regex.Wrong($"{what}; write the pattern in another way");
        }
    }
}
