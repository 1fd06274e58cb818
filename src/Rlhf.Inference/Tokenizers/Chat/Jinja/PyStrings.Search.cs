using System.Text;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>Methods that look for parts, cut, join and pad.</summary>
internal static partial class PyStrings
{
    /// <summary>Cuts at white space, which is what split() without a separator does.</summary>
    public static List<object?> SplitSpaces(string text, long limit)
    {
        var parts = new List<object?>();
        for (int i = 0; ;)
        {
            while (i < text.Length && PyText.IsSpace(text[i]))
                i++;
            if (i == text.Length)
                return parts;
            if (limit >= 0 && parts.Count >= limit)
            {
                parts.Add(PyText.TrimEnd(text[i..]));
                return parts;
            }
            int start = i;
            while (i < text.Length && !PyText.IsSpace(text[i]))
                i++;
            parts.Add(text[start..i]);
        }
    }

    /// <summary>str.replace().</summary>
    public static string Replace(string text, string old, string other, long count, JinjaBudget budget)
    {
        if (count < 0)
            count = long.MaxValue;
        var made = new StringBuilder();
        int done = 0;
        if (old.Length == 0)
        {
            budget.Allocate(text.Length + (Math.Min(count, text.Length + 1L) * other.Length));
            for (; done < text.Length && count > 0; count--, done += PyText.Width(text, done))
                made.Append(other).Append(text, done, PyText.Width(text, done));
            return made.Append(text, done, text.Length - done).Append(count > 0 ? other : "").ToString();
        }
        while (count-- > 0 && PyText.Find(text, old, budget, done) is >= 0 and var place)
        {
            budget.Step();
            if (made.Length + (long)other.Length > JinjaBudget.MaxLength)
                budget.Allocate(made.Length + (long)other.Length);
            made.Append(text, done, place - done).Append(other);
            done = place + old.Length;
        }
        if (done == 0)
            return text;
        budget.Allocate((long)made.Length + text.Length - done);
        return made.Append(text, done, text.Length - done).ToString();
    }

    /// <summary>str.join().</summary>
    public static string Join(string separator, IEnumerable<string> parts, JinjaBudget budget)
    {
        var joined = new StringBuilder();
        bool first = true;
        foreach (var part in parts)
        {
            if (joined.Length + (long)part.Length + separator.Length > JinjaBudget.MaxLength)
                budget.Allocate(joined.Length + (long)part.Length + separator.Length);
            joined.Append(first ? "" : separator).Append(part);
            first = false;
        }
        budget.Allocate(joined.Length);
        return joined.ToString();
    }

    /// <summary>str.strip() and its halves; a missing or None <paramref name="characters"/> is white space.</summary>
    public static string Strip(string text, object? characters, bool atStart, bool atEnd, JinjaBudget budget)
    {
        if (ReferenceEquals(characters, PyArguments.Missing) || characters is null)
        {
            budget.Step(text.Length >> 4);
            text = atEnd ? PyText.TrimEnd(text) : text;
            return atStart ? PyText.TrimStart(text) : text;
        }
        var set = PyText.Characters(Text(characters)).ToHashSet(StringComparer.Ordinal);
        budget.Step(set.Count + (text.Length >> 4));
        int start = 0, end = text.Length;
        while (atStart && start < end && set.Contains(text.Substring(start, PyText.Width(text, start))))
        {
            budget.Step();
            start += PyText.Width(text, start);
        }
        while (atEnd && end > start)
        {
            budget.Step();
            int width = end - start >= 2 && char.IsSurrogatePair(text[end - 2], text[end - 1]) ? 2 : 1;
            if (!set.Contains(text.Substring(end - width, width)))
                break;
            end -= width;
        }
        return text[start..end];
    }

    private static List<object?> Items(List<string> parts, JinjaBudget budget)
    {
        budget.AllocateItems(parts.Count * 4L);
        return [.. parts];
    }

    private static object? Split(string text, PyArguments arguments, JinjaBudget budget)
    {
        var x = arguments.Bind("split", 0, "sep", "maxsplit");
        long limit = Int(PyArguments.Or(x[1], -1L));
        budget.Allocate(2L * text.Length);
        if (PyArguments.Or(x[0], null) is not { } separator)
            return SplitSpaces(text, limit);
        var at = Separator(separator);
        var parts = new List<object?>();
        int done = 0;
        while ((limit < 0 || parts.Count < limit) && PyText.Find(text, at, budget, done) is >= 0 and var place)
        {
            budget.AllocateItems(4);
            parts.Add(text[done..place]);
            done = place + at.Length;
        }
        parts.Add(text[done..]);
        return parts;
    }

    private static object? SplitFromRight(string text, PyArguments arguments, JinjaBudget budget)
    {
        var x = arguments.Bind("rsplit", 0, "sep", "maxsplit");
        long limit = Int(PyArguments.Or(x[1], -1L));
        budget.Allocate(2L * text.Length);
        var at = PyArguments.Or(x[0], null) is { } separator ? Separator(separator) : null;
        var parts = new List<object?>();
        if (at is null)
        {
            if (limit < 0)
                return SplitSpaces(text, -1);
            for (int end = text.Length; ;)
            {
                while (end > 0 && PyText.IsSpace(text[end - 1]))
                    end--;
                if (end == 0)
                    break;
                int start = end;
                while (parts.Count < limit && start > 0 && !PyText.IsSpace(text[start - 1]))
                    start--;
                bool rest = parts.Count >= limit;
                parts.Add(rest ? PyText.TrimStart(text[..end]) : text[start..end]);
                if (rest)
                    break;
                end = start;
            }
        }
        else
        {
            int end = text.Length;
            while ((limit < 0 || parts.Count < limit) && PyText.FindLast(text, at, budget, end) is >= 0 and var place)
            {
                budget.AllocateItems(4);
                parts.Add(text[(place + at.Length)..end]);
                end = place;
            }
            parts.Add(text[..end]);
        }
        parts.Reverse();
        return parts;
    }

    private static string Separator(object separator) =>
        Text(separator) is { Length: > 0 } x ? x : throw new JinjaException("empty separator");

    private static PyTuple Partition(string text, object? separator, bool first, JinjaBudget budget)
    {
        var at = Separator(separator ?? throw JinjaException.Type("must be str, not NoneType"));
        budget.Allocate(text.Length);
        int place = first ? PyText.Find(text, at, budget) : PyText.FindLast(text, at, budget);
        return place >= 0 ? new([text[..place], at, text[(place + at.Length)..]])
            : new(first ? [text, "", ""] : ["", "", text]);
    }

    private static (string Part, int Start)? Window(string text, object? start, object? stop)
    {
        start = PyArguments.Or(start, null);
        stop = PyArguments.Or(stop, null);
        if (start is null && stop is null)
            return (text, 0);
        var offsets = PyText.Offsets(text);
        int length = offsets?.Length - 1 ?? text.Length;
        // A start beyond the end finds nothing, not even the empty text.
        if (start is not null && Int(start) > length)
            return null;
        int from = PyAccess.Clamp(start, 0, length), to = PyAccess.Clamp(stop, length, length);
        return from > to ? null : (text[(offsets?[from] ?? from)..(offsets?[to] ?? to)], from);
    }

    private static bool IsAffix(string name, string text, PyArguments arguments, Func<string, string, bool> holds, JinjaBudget budget)
    {
        var x = arguments.Bind(name, 1, "*affix", "*start", "*end");
        var affixes = x[0] is PyTuple many ? many.Items : [x[0]];
        budget.Step(text.Length >> 5);
        if (Window(text, x[1], x[2]) is not var (part, _))
            return false;
        return affixes.Any(affix =>
        {
            var y = affix is string or PyMarkup ? PyText.Of(affix) : throw JinjaException.Type(
                $"{name} first arg must be str or a tuple of str, not {PyType.Name(affix)}");
            budget.Step(y.Length >> 5);
            return holds(part, y);
        });
    }

    private static long Search(string name, string text, PyArguments arguments, bool last, JinjaBudget budget)
    {
        var x = arguments.Bind(name, 1, "*sub", "*start", "*end");
        budget.Step(text.Length >> 4);
        if (Window(text, x[1], x[2]) is not var (part, start))
            return -1;
        int place = last ? PyText.FindLast(part, Text(x[0]), budget) : PyText.Find(part, Text(x[0]), budget);
        return place < 0 ? -1 : start + PyText.Length(part[..place]);
    }

    private static object? Count(string text, PyArguments arguments, JinjaBudget budget)
    {
        var x = arguments.Bind("count", 1, "*sub", "*start", "*end");
        var sought = Text(x[0]);
        budget.Step(text.Length >> 4);
        if (Window(text, x[1], x[2]) is not var (part, _))
            return 0L;
        if (sought.Length == 0)
            return PyText.Length(part) + 1L;
        long count = 0;
        for (int i = 0; PyText.Find(part, sought, budget, i) is >= 0 and var place; i = place + sought.Length)
            count++;
        return count;
    }
}
