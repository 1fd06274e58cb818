using System.CommandLine;
using System.Text.RegularExpressions;

namespace Rlhf.Cli.Settings;

/// <summary>
/// Finds mistyped flags on a command line. The parser takes a flag that it does not know for a free argument (a prompt, a file) or for the
/// value of the flag before it, so the words are looked at as they were typed.
/// </summary>
internal static partial class UnknownFlags
{
    /// <summary>
    /// The flags that the command does not know, each with the word after it that is no flag, which is probably its value. A word after <c>--</c> is none, nor is one with a space in it, a
    /// number, or a word with a single dash right after a flag that takes a value.
    /// </summary>
    public static IReadOnlyList<(string Name, string? Value)> In(IEnumerable<string> words, Command command)
    {
        var known = new Dictionary<string, Option>();
        foreach (var option in Completion.Options(command))
            foreach (string name in option.Aliases.Prepend(option.Name))
                known.TryAdd(name, option);
        List<(string Name, string? Value)> unknown = [];
        bool isAfterUnknown = false;
        bool isValue = false;
        foreach (string word in words.TakeWhile(word => word != "--"))
            if (known.TryGetValue(Name(word), out var option))
                (isValue, isAfterUnknown) =
                    (option.ValueType != typeof(bool) && option.Arity.MaximumNumberOfValues > 0 && Name(word) == word, false);
            else
            {
                bool isFlag = TwoDashes().IsMatch(word) || OneDash().IsMatch(word) && !isValue
                    || LongDash().Match(word) is { Success: true } typeset && known.ContainsKey("--" + typeset.Groups[1].Value);
                if (isFlag)
                    unknown.Add((Name(word), null));
                else if (isAfterUnknown)
                    unknown[^1] = (unknown[^1].Name, word);
                (isValue, isAfterUnknown) = (false, isFlag);
            }
        return unknown;
    }

    /// <summary>A flag without its value: <c>--steps</c> of <c>--steps=3</c>.</summary>
    public static string Name(string word) => word.Split('=', ':')[0];

    [GeneratedRegex(@"^--[^\s=:]+([=:].*)?$", RegexOptions.Singleline)]
    private static partial Regex TwoDashes();

    [GeneratedRegex(@"^-[A-Za-z][\w-]*(=.*)?$", RegexOptions.Singleline)]
    private static partial Regex OneDash();

    // Word processors and web pages turn two dashes into one long one.
    [GeneratedRegex(@"^[\u2013\u2014]([A-Za-z-]+)([=:].*)?$", RegexOptions.Singleline)]
    private static partial Regex LongDash();
}
