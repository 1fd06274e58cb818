using System.CommandLine;
using System.ComponentModel;
using Rlhf.Cli.Reports;
using Rlhf.Cli.Runs;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Reporting;
using Rlhf.Runs;
using Rlhf.Runtime;

namespace Rlhf.Cli.Verbs;

/// <summary>What to make of a run.</summary>
internal sealed record ReportFlags
{
    [Description("Where to write the page; default: report.html in the run's folder.")]
    [ValueName("FILE")]
    public string? Output { get; init; }

    [Description("Also write each chart as a picture into this folder.")]
    [ValueName("DIR")]
    public string? Png { get; init; }
}

/// <summary><c>rlhf report</c>: a run as a page, or as pictures.</summary>
internal static class ReportVerb
{
    public static Command Create()
    {
        var folder = new Argument<string>("folder") { Description = "The folder of a run." };
        var command = new VerbCommand(
            "report", "makes a run's report, one page that needs no network, from what the run has written so far.",
            ["rlhf report runs/my-run", "rlhf report runs/my-run --png slides"],
            new SettingsBinder().Add("Report", new ReportFlags()),
            context => Run(context, context.Command.GetValue(folder)!));
        command.Add(folder);
        return command;
    }

    private static int Run(VerbContext context, string folder)
    {
        var options = context.Settings.Get<ReportFlags>();
        if (!File.Exists(Path.Combine(folder, RunFiles.Config)) && !File.Exists(Path.Combine(folder, RunFiles.Metrics)))
            throw new ConfigurationException([$"{folder} is no folder of a run: there is neither {RunFiles.Config} nor "
                + $"{RunFiles.Metrics} in it."]);
        string path = options.Output ?? Path.Combine(folder, RunFiles.Report);
        if (Directory.Exists(path))
            throw new ConfigurationException([$"--output {path} is a folder; name a file."]);
        var run = RunPage.Write(folder, path);
        IReadOnlyList<string> pictures = options.Png is { } target ? PngCharts.Write(run, target) : [];
        var verdict = RunVerdict.Of(run);
        if (context.Screen.Json)
            context.Screen.WriteJson(new
            {
                Report = path,
                Outcome = SettingValue.Format(verdict.Outcome),
                verdict.Sentence,
                Pictures = pictures,
            });
        else
            context.Screen.Facts(verdict.Sentence,
            [
                ("report", path),
                .. pictures.Count > 0 ? [("pictures", $"{pictures.Count} in {options.Png}")] : Array.Empty<(string, string)>(),
            ]);
        return ExitCode.Success;
    }
}
