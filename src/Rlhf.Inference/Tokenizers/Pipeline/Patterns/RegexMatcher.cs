using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Rlhf.Tokenizers.Pipeline.Patterns;

/// <summary>
/// Any other pattern. .NET's expressions see UTF-16 units where the reference's see characters, so they are matched against a shadow of the
/// text in which each character beyond U+FFFF is one character of the same category.
/// </summary>
internal sealed class RegexMatcher : Matcher
{
    /// <summary>Time for one match. A published pattern needs microseconds; one that needs seconds is built to.</summary>
    private static readonly TimeSpan DefaultLimit = TimeSpan.FromSeconds(2);

    private readonly Regex regex;
    private readonly string source;

    /// <param name="pattern">The pattern, as tokenizer.json has it.</param>
    /// <param name="limit">Time for one match; null is two seconds.</param>
    /// <exception cref="ArgumentException">The pattern is none, or uses what cannot be translated.</exception>
    public RegexMatcher(string pattern, TimeSpan? limit = null)
    {
        source = pattern;
        regex = new(OnigurumaPattern.Translate(pattern), RegexOptions.CultureInvariant | RegexOptions.Multiline, limit ?? DefaultLimit);
    }

    protected override bool Next(ReadOnlySpan<char> text, int from, out int start, out int end) =>
        throw new NotSupportedException("Matches are found together.");

    public override void Find(ReadOnlySpan<char> text, List<Stretch> stretches)
    {
        int surrogate = text.IndexOfAnyInRange('\uD800', '\uDFFF');
        if (surrogate < 0)
        {
            FindAll(text, [], stretches);
            return;
        }
        char[] shadow = ArrayPool<char>.Shared.Rent(text.Length);
        int[] places = ArrayPool<int>.Shared.Rent(text.Length + 1);
        int length = 0;
        for (int at = 0; at < text.Length;)
        {
            Rune.DecodeFromUtf16(text[at..], out var rune, out int width);
            places[length] = at;
            shadow[length++] = rune.IsBmp ? (char)rune.Value : Stand.For(Rune.GetUnicodeCategory(rune));
            at += width;
        }
        places[length] = text.Length;
        FindAll(shadow.AsSpan(0, length), places, stretches);
        ArrayPool<char>.Shared.Return(shadow);
        ArrayPool<int>.Shared.Return(places);
    }

    private void FindAll(ReadOnlySpan<char> text, int[] places, List<Stretch> stretches)
    {
        int last = 0;
        int Place(int at) => places.Length == 0 ? at : places[at];
        try
        {
            foreach (var match in regex.EnumerateMatches(text))
            {
                // An empty match right behind another match is none, in the reference.
                if (match.Length == 0 && match.Index == last && last > 0)
                    continue;
                if (match.Index > last)
                    stretches.Add(new(Place(last), Place(match.Index), false));
                last = match.Index + match.Length;
                stretches.Add(new(Place(match.Index), Place(last), true));
            }
        }
        catch (RegexMatchTimeoutException e)
        {
            throw new PipelineLimitException(
                $"the pattern {Runtime.Text.UntrustedText.Quote(source, 80)} takes more than {regex.MatchTimeout.TotalSeconds:0.##} s on a text of "
                + $"{text.Length:N0} characters; use the published pattern of its family, or shorter texts.", e);
        }
        if (last < text.Length)
            stretches.Add(new(Place(last), Place(text.Length), false));
    }

    /// <summary>Rare characters of the basic plane that stand for those beyond it, one for each category.</summary>
    internal static class Stand
    {
        private const string Candidates = "\uA640\uA641\u1F88\uA717\uA840\u1DC0\uA823\uA670\uA8D0\uA6E6\uA830\uFFF9\uE000\uFE33\uFE31"
            + "\u2E28\u2E29\u2E02\u2E03\uA874\u2A00\uA838\uA700\uA490\uFDD0";

        private static readonly Dictionary<UnicodeCategory, char> Characters =
            Candidates.ToDictionary(CharUnicodeInfo.GetUnicodeCategory);

        /// <summary>All of them.</summary>
        public static IEnumerable<char> All => Characters.Values;

        public static char For(UnicodeCategory category) =>
            Characters.TryGetValue(category, out char c) ? c : Characters[UnicodeCategory.OtherNotAssigned];
    }
}
