using CsCheck;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Pipeline;
using Rlhf.Tokenizers.Pipeline.Patterns;

namespace Rlhf.Tests.Tokenizers;

public class PatternTests
{
    /// <summary>Pieces at whose borders patterns decide; among them letters, numbers and marks beyond U+FFFF.</summary>
    private static readonly string[] Pieces =
    [
        "a", "B", "é", "ſ", "K", "ß", "ǅ", "ʰ", "中", "𝒜", "𐐨", "𞤀", "1", "٣", "²", "Ⅷ", "𝟘", "𐄇", "\u0301", "\u093E", "\u20DD", "𑀀",
        " ", " ", "\t", "\r", "\n", "\u0085", "\u00A0", "\u2028", "\u3000", "\u001C", "'", "'s", "'LL", "'ve", "'ſ", "’", ".", "/", "-", "$", "😀",
        "\u200D", "\u0000", "\uE000", "\U000F0000",
    ];

    private static readonly Gen<string> Texts = Gen.Int[0, Pieces.Length - 1].Select(i => Pieces[i]).Array[0, 24].Select(string.Concat);

    [Theory]
    [InlineData(ChatWords.Llama3Pattern)]
    [InlineData(ChatWords.QwenPattern)]
    [InlineData(ChatWords.Gpt4oPattern)]
    [InlineData(ChatWords.Cl100kPattern)]
    public void Words_cut_by_hand_are_those_of_the_published_pattern(string pattern)
    {
        var (byHand, regex) = (ChatWords.For(pattern)!, new RegexMatcher(pattern));
        Texts.Sample(text => Assert.Equal(Find(regex, text), Find(byHand, text)), iter: 20_000);
    }

    [Fact]
    public void Gpt2s_words_are_those_of_its_pattern()
    {
        var regex = new RegexMatcher(@"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+");
        Texts.Sample(text => Assert.Equal(Find(regex, text), Find(new Gpt2Words(), text)), iter: 20_000);
    }

    /// <summary>What Oniguruma means, in cases worked out from its manual (Ruby syntax).</summary>
    [Theory]
    [InlineData(@"(?i:'s)", "'S 's 'ſ", "'S|'s|'ſ")]
    [InlineData(@"(?i:k)", "k K K", "k|K|K")]
    [InlineData(@"a?+a", "aa a", "aa")]
    [InlineData(@"[ab]++b", "abab", "")]
    [InlineData(@"\w+", "é_1𝒜 x\u0301-", "é_1𝒜|x\u0301")]
    [InlineData(@"\s", "a\u0085b\u001Cc", "\u0085")]
    [InlineData(@"\p{^L}+", "ab12𝒜", "12")]
    [InlineData(@"\h{2}", "a\u0066g0", "af")]
    [InlineData(@"[\x{41}\u0042]", "ABC", "A|B")]
    [InlineData(@"[!#$ -]", "a-b #", "-| |#")]
    [InlineData(@".{2}", "𝒜𝒜b", "𝒜𝒜")]
    [InlineData(@"(a)(?=b)", "abac", "a")]
    [InlineData(@"{", "a{b", "{")]
    [InlineData(@"x{,2}y", "xxxy", "xxy")]
    public void Expressions_mean_what_they_mean_in_the_reference(string pattern, string text, string matches) =>
        Assert.Equal(matches, string.Join('|', Find(new RegexMatcher(pattern), text).Where(s => s.IsMatch).Select(s => text[s.Start..s.End])));

    [Theory]
    [InlineData(@"\p{Han}", @"property \p{Han}")]
    [InlineData("[a&&b]", "cuts classes")]
    [InlineData("[[:alpha:]]", "class within a class")]
    [InlineData("(?<name>a)", "group of a kind")]
    [InlineData(@"\G", @"uses \G")]
    [InlineData("[\U00020000-\U0002A6DF]", "beyond U+FFFF")]
    [InlineData("(a", "leaves a group open")]
    [InlineData("a)", "closes a group")]
    [InlineData("+a", "repeats nothing")]
    public void What_cannot_be_translated_is_refused_by_name(string pattern, string complaint) =>
        Assert.Contains(complaint, Assert.Throws<ArgumentException>(() => new RegexMatcher(pattern)).Message);

    [Fact]
    public void A_pattern_that_takes_forever_is_stopped()
    {
        // Each letter more doubles the ways to try.
        var matcher = new RegexMatcher("(?:a|aa|ab?a)+c", TimeSpan.FromMilliseconds(20));
        var error = Assert.Throws<PipelineLimitException>(() => Find(matcher, new string('a', 400)));
        Assert.Contains("pattern", error.Message);
    }

    private static List<Stretch> Find(Matcher matcher, string text)
    {
        var stretches = new List<Stretch>();
        matcher.Find(text, stretches);
        return stretches;
    }
}
