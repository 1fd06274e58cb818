using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Parsing;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Cli.Verbs;

namespace Rlhf.Cli;

/// <summary>The <c>rlhf</c> command: its verbs, and what happens when the command line makes no sense.</summary>
internal static class CommandLine
{
    public static int Invoke(IReadOnlyList<string> arguments)
    {
        var root = Create();
        if (arguments is [Completion.Directive, ..])
        {
            foreach (string word in Completion.Of(root, [.. arguments.Skip(1)]))
                Console.Out.WriteLine(word);
            return ExitCode.Success;
        }
        if (arguments is [['[', .., ']'] directive, ..]) // the parser's own, such as [suggest]
        {
            Console.Error.WriteLine($"rlhf: unknown command '{SettingValue.Shorten(directive)}'. See rlhf --help.");
            return ExitCode.Usage;
        }
        var parsing = new ParserConfiguration { EnablePosixBundling = false, ResponseFileTokenReplacer = null };
        var result = root.Parse(arguments, parsing);
        var command = result.CommandResult.Command;
        var unknown = UnknownFlags.In(arguments, command);
        bool canRun = result.Action is HelpPage || result.Action is not null && result.Errors.Count == 0 && unknown.Count == 0;
        if (canRun)
            return result.Invoke(new() { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null });
        if (command.Subcommands.Count > 0 && result.UnmatchedTokens.Count == 0 && unknown.Count == 0)
        {
            HelpPage.Write(command, Screen.CreateConsole(Console.Out));
            return ExitCode.Success;
        }
        foreach (var problem in Problems(result, unknown))
            Console.Error.WriteLine($"rlhf: {problem}");
        return ExitCode.Usage;
    }

    public static RootCommand Create()
    {
        var root = new RootCommand("aligns language models to human preferences: fine-tuning, reward models, PPO.");
        root.Options.OfType<HelpOption>().Single().Action = new HelpPage();
        foreach (var verb in (Command[])[
            PpoVerb.Create(), GroupVerb.CreateGrpo(), GroupVerb.CreateRloo(), DpoVerb.Create(), KtoVerb.Create(), BestOfVerb.Create(), SftVerb.Create(),
            PairsVerb.Create(), RewardVerb.Create(), EvaluateVerb.Create(), ReportVerb.Create(),
            GenerateVerb.Create(), ChatVerb.Create(), ServeVerb.Create(), StudioVerb.Create(), ClassifyVerb.Create(), TokenizerVerb.Create(), InitVerb.Create(), ExportVerb.Create(),
            MergeVerb.Create(),
            HubVerbs.Create(), BenchVerb.Create(), InfoVerb.Create(), CompletionVerb.Create()])
            root.Add(verb);
        return root;
    }

    private static IEnumerable<string> Problems(ParseResult result, IReadOnlyList<(string Name, string? Value)> unknown)
    {
        var command = result.CommandResult.Command;
        var flags = command.Options.Select(o => o.Name);
        var verbs = command.Subcommands.Select(c => c.Name);
        string help = $" See {HelpPage.FullName(command)} --help.";
        string asTheyStand = command.Arguments.Count > 0 ? " Words after -- are taken as they stand." : "";
        foreach (var (flag, _) in unknown)
            yield return $"unknown flag '{SettingValue.Shorten(flag)}'{SettingsBinder.Suggest(flag, flags)}{help}{asTheyStand}";
        foreach (string token in result.UnmatchedTokens)
            if (unknown.Any(u => u.Name == UnknownFlags.Name(token) || u.Value == token))
                continue; // said above
            else if (command.Subcommands.Count > 0)
                yield return $"unknown command '{SettingValue.Shorten(token)}'{SettingsBinder.Suggest(token, verbs)}{help}";
            else
                yield return $"'{SettingValue.Shorten(token)}' belongs to no flag.{help}";
        string[] missing = [.. result.Errors.Select(e => e.SymbolResult).OfType<ArgumentResult>()
            .Where(r => r.Tokens.Count < r.Argument.Arity.MinimumNumberOfValues).Select(r => HelpPage.Name(r.Argument)).Distinct()];
        if (missing.Length > 0)
            yield return $"{HelpPage.FullName(command)} needs {string.Join(" and ", missing)}: {HelpPage.Usage(command)}.{help}";
        foreach (var error in result.Errors.Where(e => e.SymbolResult is not ArgumentResult
            && !e.Message.StartsWith("Unrecognized command or argument", StringComparison.Ordinal)
            && !(result.UnmatchedTokens.Count > 0 && command.Subcommands.Count > 0)))
            yield return error.SymbolResult is not OptionResult { Option.Name: var flag, IdentifierTokenCount: var times }
                ? error.Message
                : times > 1 ? $"{flag} is given more than once.{help}"
                : error.SymbolResult.Tokens.Count > 0 ? error.Message + help // a value that a flag refuses
                : $"{flag} needs a value.{help}";
    }
}
