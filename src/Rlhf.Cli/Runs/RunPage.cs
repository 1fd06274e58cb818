using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Reporting;
using Rlhf.Runs;
using Rlhf.Runtime;
using Rlhf.Runtime.Files;
using Rlhf.Runtime.Native;

namespace Rlhf.Cli.Runs;

/// <summary>A run's report.html.</summary>
internal static class RunPage
{
    /// <summary>Writes the report of a run that has ended. That it cannot be written is said, and never ends the command.</summary>
    public static void WriteAtEnd(VerbContext context, RunFolder folder)
    {
        try
        {
            Write(folder.Path, folder[RunFiles.Report]);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            context.Screen.Line($"[yellow]{Screen.Safe($"The report of {folder.Path} could not be written: {e.Message}")}[/]");
        }
    }

    /// <summary>Writes the report of a run's folder.</summary>
    /// <exception cref="IOException">A file cannot be read or written.</exception>
    public static RunData Write(string folder, string path)
    {
        var (run, page) = Make(folder);
        AtomicFile.WriteAllText(path, page);
        return run;
    }

    /// <summary>The report of a run's folder.</summary>
    /// <exception cref="IOException">A file cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">A file may not be read.</exception>
    public static (RunData Run, string Page) Make(string folder)
    {
        var run = RunData.Load(folder);
        return (run, RunReport.Of(run, Settings(folder, run.Verb)));
    }

    /// <summary>The settings in a run's config.yaml beside the defaults of its verb; none where it has no such file.</summary>
    private static IReadOnlyList<RunSetting> Settings(string folder, string verb)
    {
        string path = Path.Combine(folder, RunFiles.Config);
        if (!File.Exists(path))
            return [];
        var command = CommandLine.Create().Subcommands.OfType<VerbCommand>().FirstOrDefault(c => c.Name == verb);
        var known = command?.Settings.Settings.ToDictionary(s => Setting.Normalize(s.Key)) ?? [];
        try
        {
            return [.. YamlSettingsFile.Read(path).Select(entry => WithShipped(command?.Shipped, Of(entry)))];
        }
        catch (ConfigurationException)
        {
            return []; // no file of this program
        }

        RunSetting Of(FileEntry entry)
        {
            var setting = known.GetValueOrDefault(Setting.Normalize(entry.Key));
            string value = entry.IsNull ? "none" : entry.Value;
            return new(setting?.Section ?? "", entry.Key, value, setting is null ? null
                : setting.Default is null && !entry.IsNull ? "unset" : SettingValue.Format(setting.Default));
        }
    }

    /// <summary>The setting with what ships in place of none, where none means that.</summary>
    private static RunSetting WithShipped(IReadOnlyDictionary<string, string>? shippedNames, RunSetting setting)
    {
        if (shippedNames?.TryGetValue(setting.Name, out var name) != true)
            return setting;
        string inFiles = $"models/{name}", shipped = inFiles + ", which ships";
        string value = setting.Value == inFiles || setting is { Name: "dataset", Value: "none" } ? shipped : setting.Value;
        // A judge that was not asked for is none, where the reward is not the one that ships.
        bool isDefault = value.Replace('\\', '/').EndsWith("/" + inFiles, StringComparison.Ordinal)
            || setting is { Name: "judge", Value: "none" };
        return setting with { Value = value, Default = isDefault ? value : shipped };
    }
}
