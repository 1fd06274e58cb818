using System.CommandLine;
using System.CommandLine.Completions;

namespace Rlhf.Cli.Settings;

/// <summary>What can stand at the cursor of a command line: the answers to the scripts of <c>rlhf completion</c>.</summary>
internal static class Completion
{
    /// <summary>First word of a command line that asks: <c>rlhf [complete] ppo --kl-pen</c>. The words after it are those up to the cursor,
    /// the last one as far as it is typed.</summary>
    public const string Directive = "[complete]";

    /// <summary>
    /// Words that complete the last one, in the order of the alphabet; none where a path or a text stands, which the shell completes.
    /// </summary>
    /// <param name="root">The command.</param>
    /// <param name="words">The words after its name. Bash gives <c>--flag=value</c> as three of them.</param>
    public static IReadOnlyList<string> Of(Command root, IReadOnlyList<string> words)
    {
        string typed = words.Count == 0 ? "" : words[^1];
        var before = words.SkipLast(1).ToList();
        if (typed == "=")
            typed = "";
        else if (before is [.., "="])
            before.RemoveAt(before.Count - 1);
        if (before.Contains("--"))
            return [];
        var (command, open, given) = Walk(root, before);
        string[] found;
        if (open is not null)
            found = Values(open);
        else if (typed.StartsWith('-') && typed.IndexOf('=') is > 0 and var at)
            found = Find(command, typed[..at]) is { } option ? [.. Values(option).Select(value => typed[..(at + 1)] + value)] : [];
        else if (typed.StartsWith('-') || (command.Subcommands.Count == 0 && command.Arguments.Count == 0))
            found = [.. Options(command).Select(o => o.Name).Where(name => name.StartsWith("--", StringComparison.Ordinal)).Except(given)];
        else
            found = [.. command.Subcommands.Where(c => !c.Hidden).Select(c => c.Name), .. command.Arguments.SelectMany(Values)];
        return [.. found.Where(word => word.StartsWith(typed, StringComparison.Ordinal)).Distinct().Order(StringComparer.Ordinal)];
    }

    /// <summary>The command that words name, the flag whose value comes next, if one does, and the flags that are given.</summary>
    private static (Command Command, Option? Open, List<string> Given) Walk(Command root, IEnumerable<string> words)
    {
        var (command, open, given) = (root, (Option?)null, new List<string>());
        foreach (string word in words)
            if (word.StartsWith('-'))
            {
                var option = Find(command, UnknownFlags.Name(word));
                given.Add(UnknownFlags.Name(word));
                open = option is not null && option.ValueType != typeof(bool) && option.Arity.MaximumNumberOfValues > 0
                    && UnknownFlags.Name(word) == word ? option : null;
            }
            else if (word != "=")
                (command, open) = (open is null ? command.Subcommands.FirstOrDefault(c => c.Name == word) ?? command : command, null);
        return (command, open, given);
    }

    private static string[] Values(Symbol symbol) => [.. symbol switch
    {
        Option { ValueType: var type } when type == typeof(bool) => [_ => SettingValue.Choices(type).Select(word => new CompletionItem(word))],
        Option { Arity.MaximumNumberOfValues: > 0 } option => option.CompletionSources,
        Argument argument => argument.CompletionSources,
        _ => [],
    } is { } sources ? sources.SelectMany(source => source(CompletionContext.Empty)).Select(item => item.Label) : []];

    private static Option? Find(Command command, string name) =>
        Options(command).FirstOrDefault(o => o.Name == name || o.Aliases.Contains(name));

    /// <summary>The flags of a command, and those that hold for all commands.</summary>
    internal static IEnumerable<Option> Options(Command command)
    {
        for (Command? owner = command; owner is not null; owner = owner.Parents.OfType<Command>().FirstOrDefault())
            foreach (var option in owner.Options.Where(o => owner == command || o.Recursive))
                yield return option;
    }
}
