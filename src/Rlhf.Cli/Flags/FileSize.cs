using System.Globalization;
using System.Text.RegularExpressions;

namespace Rlhf.Cli.Flags;

/// <summary>Sizes as people and transformers write them: 5GB, 500MB, 2GiB.</summary>
internal static partial class FileSize
{
    /// <summary>Bytes; null for what is no size of at least one byte.</summary>
    public static long? Parse(string text)
    {
        if (Pattern().Match(text) is not { Success: true } match
            || !long.TryParse(match.Groups[1].ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture, out long count) || count < 1)
            return null;
        bool binary = match.Groups[3].Success;
        long unit = 1;
        for (int power = "KMGT".IndexOf(char.ToUpperInvariant(match.Groups[2].Value[0]), StringComparison.Ordinal); power >= 0; power--)
            unit *= binary ? 1024 : 1000;
        return count <= long.MaxValue / unit ? count * unit : null;
    }

    [GeneratedRegex(@"\A(\d{1,18})\s*([KMGT])(i)?B\z", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Pattern();
}
