using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Hub;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Cli.Flags;

/// <summary>The setting names a model: a folder here, one that ships, or one of the Hub.</summary>
internal sealed class ModelInputAttribute : InputAttribute
{
    /// <summary>What is needed of it.</summary>
    public HubModelParts Parts { get; init; } = HubModelParts.All;

    /// <summary>Are several named, with commas between them?</summary>
    public bool IsList { get; init; }

    /// <summary>May the flag be given several times?</summary>
    public bool IsRepeated { get; init; }

    public override IEnumerable<string> Problems(string value) =>
        from name in IsList ? value.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
            : IsRepeated ? RepeatedAttribute.Split(value) : [value]
        let problem = ModelFolders.Problem(name, Parts)
        where problem is not null
        select $"{name} {problem}";
}

/// <summary>The setting names data: a file, a folder or a pattern here, or a data set of the Hub.</summary>
internal sealed class DataInputAttribute : InputAttribute
{
    /// <summary>May it be of the Hub?</summary>
    public bool OfTheHub { get; init; } = true;

    /// <summary>Must it be a single file?</summary>
    public bool IsFile { get; init; }

    public override IEnumerable<string> Problems(string value)
    {
        if (IsFile)
        {
            if (Directory.Exists(value) || !Path.Exists(value))
                yield return $"{value} {(Path.Exists(value) ? "is a folder" : "does not exist")}; name a file.";
            yield break;
        }
        if (Path.Exists(value) || MatchesPattern(value) || (OfTheHub && HubFiles.CanMean(HubRepoType.Dataset, value)))
            yield break;
        yield return $"{value} does not exist; name a file or a folder"
            + (OfTheHub ? ", or a data set of the Hub such as stanfordnlp/imdb." : ".");
    }

    private static bool MatchesPattern(string value)
    {
        string name = Path.GetFileName(value);
        string folder = Path.GetDirectoryName(value) is { Length: > 0 } parent ? parent : ".";
        return name.AsSpan().ContainsAny('*', '?') && Directory.Exists(folder) && Directory.EnumerateFiles(folder, name).Any();
    }
}

/// <summary>The setting names a chat template: a file here, or the built-in one.</summary>
internal sealed class ChatTemplateInputAttribute : InputAttribute
{
    public override IEnumerable<string> Problems(string value)
    {
        if (value != ChatTemplate.BuiltInName && !File.Exists(value))
            yield return $"{value} does not exist; name a file with Jinja, or {ChatTemplate.BuiltInName}, the built-in one.";
    }
}
