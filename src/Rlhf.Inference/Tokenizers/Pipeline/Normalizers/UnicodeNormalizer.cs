using System.Globalization;
using System.Text;

namespace Rlhf.Tokenizers.Pipeline.Normalizers;

/// <summary>The four normalization forms of Unicode Standard Annex 15.</summary>
/// <remarks>.NET normalizes by ICU, which is absent where it runs in invariant mode: hence tables of our own.</remarks>
internal sealed class UnicodeNormalizer
{
    /// <summary>The forms.</summary>
    public static readonly UnicodeNormalizer
        Nfc = new(compatibility: false, composes: true), Nfd = new(compatibility: false, composes: false),
        Nfkc = new(compatibility: true, composes: true), Nfkd = new(compatibility: true, composes: false);

    private const int HangulFirst = 0xAC00, HangulLast = 0xD7A3, LeadFirst = 0x1100, VowelFirst = 0x1161, TrailFirst = 0x11A7;
    private const int Leads = 19, Vowels = 21, Trails = 28;

    private readonly bool compatibility, composes;
    private readonly Lazy<bool[]> stays;

    private UnicodeNormalizer(bool compatibility, bool composes)
    {
        (this.compatibility, this.composes) = (compatibility, composes);
        stays = new(BuildStays);
    }

    /// <summary>The text in this form.</summary>
    public string Normalize(string text)
    {
        var still = stays.Value;
        int first = 0;
        while (first < text.Length && still[text[first]])
            first++;
        if (first == text.Length)
            return text;
        var codes = new List<int>(text.Length + 16);
        foreach (var rune in text.EnumerateRunes())
            Decompose(rune.Value, codes);
        Order(codes);
        if (composes)
            Compose(codes);
        var result = new StringBuilder(codes.Count + 8);
        foreach (int code in codes)
            result.Append(new Rune(code));
        return result.ToString();
    }

    private void Decompose(int code, List<int> codes)
    {
        if (code is >= HangulFirst and <= HangulLast)
        {
            int index = code - HangulFirst, trail = index % Trails;
            codes.Add(LeadFirst + index / (Vowels * Trails));
            codes.Add(VowelFirst + index % (Vowels * Trails) / Trails);
            if (trail > 0)
                codes.Add(TrailFirst + trail);
        }
        else if (Tables.Canonical.TryGetValue(code, out var parts) || (compatibility && Tables.Compatible.TryGetValue(code, out parts)))
        {
            foreach (int part in parts)
                Decompose(part, codes);
        }
        else
        {
            codes.Add(code);
        }
    }

    /// <summary>Sorts each run of combining marks by class; marks of one class keep their order.</summary>
    private static void Order(List<int> codes)
    {
        for (int i = 0; i < codes.Count;)
        {
            if (Tables.Class(codes[i]) == 0)
            {
                i++;
                continue;
            }
            int end = i;
            while (end < codes.Count && Tables.Class(codes[end]) != 0)
                end++;
            if (end - i > 1)
            {
                var sorted = codes[i..end].OrderBy(Tables.Class).ToArray();
                for (int k = 0; k < sorted.Length; k++)
                    codes[i + k] = sorted[k];
            }
            i = end;
        }
    }

    private static void Compose(List<int> codes)
    {
        int starter = -1, kept = 0, lastClass = -1;
        for (int i = 0; i < codes.Count; i++)
        {
            int code = codes[i];
            int combining = Tables.Class(code);
            // Not blocked: nothing stands between, or only marks of a lower class.
            if (starter >= 0 && (lastClass < combining || lastClass < 0) && Composed(codes[starter], code) is { } composed)
            {
                codes[starter] = composed;
                continue;
            }
            if (combining == 0)
                (starter, lastClass) = (kept, -1);
            else
                lastClass = combining;
            codes[kept++] = code;
        }
        codes.RemoveRange(kept, codes.Count - kept);
    }

    private static int? Composed(int first, int second)
    {
        if (first is >= LeadFirst and < LeadFirst + Leads && second is >= VowelFirst and < VowelFirst + Vowels)
            return HangulFirst + ((first - LeadFirst) * Vowels + second - VowelFirst) * Trails;
        if (first is >= HangulFirst and <= HangulLast && (first - HangulFirst) % Trails == 0
            && second is > TrailFirst and < TrailFirst + Trails)
            return first + second - TrailFirst;
        return Tables.Compositions.TryGetValue(((long)first << 32) | (uint)second, out int composed) ? composed : null;
    }

    /// <summary>Characters that stay as they are whatever stands around them; a surrogate never counts as one.</summary>
    private bool[] BuildStays()
    {
        var still = new bool[char.MaxValue + 1];
        var joining = Tables.Compositions.Keys.Select(k => (int)(uint)k).ToHashSet();
        for (int c = 0; c < still.Length; c++)
        {
            bool hangul = c is >= HangulFirst and <= HangulLast;
            bool decomposes = Tables.Canonical.ContainsKey(c) && (!composes || Tables.Excluded.Contains(c));
            bool joins = composes && (joining.Contains(c) || c is >= VowelFirst and < TrailFirst + Trails);
            still[c] = !char.IsSurrogate((char)c) && Tables.Class(c) == 0 && !decomposes && !joins && (composes || !hangul)
                && !(compatibility && Tables.Compatible.ContainsKey(c));
        }
        return still;
    }

    /// <summary>The tables of UnicodeNormalization.txt, read once.</summary>
    private static class Tables
    {
        public static readonly Dictionary<int, int[]> Canonical = [], Compatible = [];
        public static readonly Dictionary<long, int> Compositions = [];
        public static readonly HashSet<int> Excluded = [];
        private static readonly Dictionary<int, byte> Classes = [];

        static Tables()
        {
            using var stream = typeof(UnicodeNormalizer).Assembly.GetManifestResourceStream("UnicodeNormalization.txt")!;
            using var reader = new StreamReader(stream, Encoding.ASCII);
            while (reader.ReadLine() is { } line)
            {
                var fields = line.Split(' ');
                switch (fields[0])
                {
                    case "C":
                        Canonical.Add(Hex(fields[1]), [.. fields[2..].Select(Hex)]);
                        break;
                    case "K":
                        Compatible.Add(Hex(fields[1]), [.. fields[2..].Select(Hex)]);
                        break;
                    case "R":
                        for (int c = Hex(fields[1]); c <= Hex(fields[2]); c++)
                            Classes.Add(c, byte.Parse(fields[3], CultureInfo.InvariantCulture));
                        break;
                    case "X":
                        Excluded.Add(Hex(fields[1]));
                        break;
                }
            }
            foreach (var (code, parts) in Canonical)
                if (parts.Length == 2 && !Excluded.Contains(code))
                    Compositions.Add(((long)parts[0] << 32) | (uint)parts[1], code);
        }

        public static int Class(int code) => code < 0x300 ? 0 : Classes.GetValueOrDefault(code);

        private static int Hex(string text) => int.Parse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
    }
}
