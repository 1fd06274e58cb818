using System.Text.RegularExpressions;

namespace Rlhf.Hub;

/// <summary>What a repository of the Hub holds.</summary>
public enum HubRepoType
{
    /// <summary>A model.</summary>
    Model,

    /// <summary>A data set.</summary>
    Dataset,

    /// <summary>An application, whose files can be downloaded.</summary>
    Space,
}

/// <summary>A repository of the Hub: <c>org/name</c>, or a name alone for the oldest ones, such as <c>gpt2</c>.</summary>
public sealed partial record HubRepo
{
    private const int LongestPart = 96;

    /// <exception cref="ArgumentException">The id is not one that the Hub gives.</exception>
    public HubRepo(HubRepoType type, string id)
    {
        if (!IsId(id))
            throw new ArgumentException(
                $"'{HubText.Clean(id)}' is no id of the Hub; one looks like org/name, of letters, digits, '-', '_' and '.'.",
                nameof(id));
        (Type, Id) = (type, id);
    }

    /// <summary>Model, data set or space.</summary>
    public HubRepoType Type { get; }

    /// <summary>Such as <c>lvwerra/gpt2-imdb</c>.</summary>
    public string Id { get; }

    /// <summary>A model's repository.</summary>
    /// <exception cref="ArgumentException">The id is not one that the Hub gives.</exception>
    public static HubRepo Model(string id) => new(HubRepoType.Model, id);

    /// <summary>A data set's repository.</summary>
    /// <exception cref="ArgumentException">The id is not one that the Hub gives.</exception>
    public static HubRepo Dataset(string id) => new(HubRepoType.Dataset, id);

    /// <summary>Whether a text can be the id of a repository.</summary>
    public static bool IsId(string? text) => text is not null && IdShape().IsMatch(text)
        && text.Split('/').All(part => part.Length <= LongestPart)
        && !text.Contains("--", StringComparison.Ordinal) && !text.Contains("..", StringComparison.Ordinal)
        && !text.EndsWith(".git", StringComparison.OrdinalIgnoreCase);

    /// <summary>Its kind and name for people: model lvwerra/gpt2-imdb.</summary>
    public override string ToString() => $"{Kind} {Id}";

    /// <summary>Its kind for people: model, data set or space.</summary>
    public string Kind => Type == HubRepoType.Dataset ? "data set" : Type == HubRepoType.Space ? "space" : "model";

    /// <summary>Its folder in the cache: models--org--name.</summary>
    internal string FolderName => $"{Plural}--{Id.Replace("/", "--", StringComparison.Ordinal)}";

    /// <summary>Its path under /api.</summary>
    internal string ApiPath => $"{Plural}/{Id}";

    /// <summary>Its path on the Hub's pages.</summary>
    internal string PagePath => Type == HubRepoType.Model ? Id : $"{Plural}/{Id}";

    private string Plural => Plurals[(int)Type];

    private static readonly string[] Plurals = ["models", "datasets", "spaces"];

    /// <summary>The repository of a cache folder's name, or null.</summary>
    internal static HubRepo? OfFolder(string name)
    {
        var parts = name.Split("--");
        string id = string.Join('/', parts[1..]);
        int type = Array.IndexOf(Plurals, parts[0]);
        return type >= 0 && parts.Length is 2 or 3 && IsId(id) ? new((HubRepoType)type, id) : null;
    }

    /// <summary>Refuses text that is no branch, tag or commit.</summary>
    /// <exception cref="ArgumentException">It is none.</exception>
    internal static string CheckRevision(string revision)
    {
        bool plain = RevisionShape().IsMatch(revision) && revision.Length <= 255
            && revision.Split('/').All(part => part.Length > 0 && part[0] != '.' && part[^1] != '.')
            && !revision.Contains("..", StringComparison.Ordinal);
        return plain ? revision : throw new ArgumentException(
            $"'{HubText.Clean(revision)}' is no revision; name a branch, a tag or a commit such as main.", nameof(revision));
    }

    /// <summary>Whether a revision is a full commit hash, whose content never changes.</summary>
    internal static bool IsCommit(string revision) => CommitShape().IsMatch(revision);

    [GeneratedRegex(@"\A(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?/)?[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\z")]
    private static partial Regex IdShape();

    [GeneratedRegex(@"\A[A-Za-z0-9_][A-Za-z0-9_./+#-]*\z")]
    private static partial Regex RevisionShape();

    [GeneratedRegex(@"\A[0-9a-f]{40}\z")]
    private static partial Regex CommitShape();
}
