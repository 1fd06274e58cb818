using System.Globalization;
using System.Text;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>The functions that every template has: Jinja's, and transformers' raise_exception and strftime_now.</summary>
internal static class JinjaGlobals
{
    public static void AddTo(Scope scope, JinjaRun run)
    {
        var budget = run.Budget;
        Function("range", a =>
        {
            var x = a.Bind("range", 1, "*start", "*stop", "*step");
            long first = Integer(x[0]), step = Integer(PyArguments.Or(x[2], 1L));
            if (step == 0)
                throw new JinjaException("range() arg 3 must not be zero");
            return ReferenceEquals(x[1], PyArguments.Missing) ? new PyRange(0, first, step) : new PyRange(first, Integer(x[1]), step);
        });
        Function("dict", a => Dict(a, budget));
        Function("namespace", a => new PyNamespace(Dict(a, budget)));
        Function("cycler", a => a.Bind("cycler", 0, [.. a.Positional.Select(_ => "*item")]).Length > 0 ? new PyCycler([.. a.Positional])
            : throw new JinjaException("at least one item has to be provided"));
        Function("joiner", a => new PyJoiner(PyArguments.Or(a.Bind("joiner", 0, "sep")[0], ", ")));
        Function("lipsum", _ => throw new JinjaException("'lipsum' is not supported: the same conversation must always give the same text"));
        Function("raise_exception", a =>
            throw new JinjaException(PyRepr.Str(a.Bind("raise_exception", 1, "message")[0], budget), JinjaFault.Raised));
        Function("strftime_now", a => FormatTime(run.Now, PyStrings.Text(a.Bind("strftime_now", 1, "format")[0]), budget));
        scope.Set("self", new PyNamespace(new()));

        void Function(string name, Func<PyArguments, object?> call) => scope.Set(name, new PyFunction(name, call));
    }

    private static long Integer(object? value) => PyStrings.Int(value);

    private static PyDict Dict(PyArguments arguments, JinjaBudget budget)
    {
        if (arguments.Positional.Count > 1)
            throw JinjaException.Type($"dict expected at most 1 argument, got {arguments.Positional.Count}");
        var dict = new PyDict();
        switch (arguments.Positional.FirstOrDefault())
        {
            case null when arguments.Positional.Count == 0:
                break;
            case PyDict x:
                dict = x.Copy(budget);
                break;
            case var pairs:
                foreach (var pair in PyIteration.Iterate(pairs, budget))
                    if (PyIteration.ToList(pair, budget) is [var key, var value])
                        dict.Set(key, value, budget);
                    else
                        throw new JinjaException("dictionary update sequence element has the wrong length; 2 is required");
                break;
        }
        foreach (var (name, value) in arguments.Named)
            dict.Set(name, value, budget);
        return dict;
    }

    /// <summary>datetime.strftime in the C locale.</summary>
    private static string FormatTime(DateTimeOffset now, string format, JinjaBudget budget)
    {
        budget.Allocate(format.Length * 16L);
        var culture = CultureInfo.InvariantCulture;
        var text = new StringBuilder();
        for (int i = 0; i < format.Length; i++)
        {
            if (format[i] != '%' || i + 1 == format.Length)
            {
                text.Append(format[i]);
                continue;
            }
            // The C library's flags: - takes the padding away, _ pads with spaces, 0 with zeros.
            char flag = i + 2 < format.Length && format[i + 1] is '-' or '_' or '0' ? format[i + 1] : '\0';
            char code = format[i += flag == '\0' ? 1 : 2];
            text.Append(code switch
            {
                'a' => now.ToString("ddd", culture),
                'A' => now.ToString("dddd", culture),
                'b' or 'h' => now.ToString("MMM", culture),
                'B' => now.ToString("MMMM", culture),
                'C' => Number(now.Year / 100, 2),
                'd' => Number(now.Day, 2),
                'e' => Number(now.Day, 2, ' '),
                'H' => Number(now.Hour, 2),
                'k' => Number(now.Hour, 2, ' '),
                'I' => Number((now.Hour + 11) % 12 + 1, 2),
                'l' => Number((now.Hour + 11) % 12 + 1, 2, ' '),
                'j' => Number(now.DayOfYear, 3),
                'm' => Number(now.Month, 2),
                'M' => Number(now.Minute, 2),
                'S' => Number(now.Second, 2),
                'f' => Number((int)(now.Ticks % TimeSpan.TicksPerSecond / 10), 6),
                'p' => now.Hour < 12 ? "AM" : "PM",
                'P' => now.Hour < 12 ? "am" : "pm",
                'y' => Number(now.Year % 100, 2),
                'Y' => Number(now.Year, 1),
                'G' => Number(ISOWeek.GetYear(now.DateTime), 1),
                'V' => Number(ISOWeek.GetWeekOfYear(now.DateTime), 2),
                'u' => Number(((int)now.DayOfWeek + 6) % 7 + 1, 1),
                'w' => Number((int)now.DayOfWeek, 1),
                'U' => Number((now.DayOfYear + 6 - (int)now.DayOfWeek) / 7, 2),
                'W' => Number((now.DayOfYear + 6 - ((int)now.DayOfWeek + 6) % 7) / 7, 2),
                'D' or 'x' => now.ToString("MM/dd/yy", culture),
                'F' => now.ToString("yyyy-MM-dd", culture),
                'T' or 'X' => now.ToString("HH:mm:ss", culture),
                'R' => now.ToString("HH:mm", culture),
                'r' => now.ToString("hh:mm:ss tt", culture),
                'c' => now.ToString("ddd MMM ", culture) + now.Day.ToString(culture).PadLeft(2) + now.ToString(" HH:mm:ss yyyy", culture),
                's' => now.ToUnixTimeSeconds().ToString(culture),
                'z' or 'Z' => "", // transformers' time has no zone
                'n' => "\n",
                't' => "\t",
                '%' => "%",
                _ => (flag == '\0' ? "%" : $"%{flag}") + code,
            });

            string Number(int value, int digits, char fill = '0') =>
                value.ToString(culture).PadLeft(flag == '-' ? 1 : digits, flag switch { '_' => ' ', '0' => '0', _ => fill });
        }
        return text.ToString();
    }
}
