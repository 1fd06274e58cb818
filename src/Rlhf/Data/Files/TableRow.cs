using System.Text.Json.Nodes;
using Rlhf.Runtime.Text;

namespace Rlhf.Data.Files;

/// <summary>A column that a reader wants: the names it may have, in order of preference.</summary>
/// <param name="Role">What it is for, in messages: "text", "label".</param>
/// <param name="Names">Accepted names; the first that the file has is read.</param>
/// <param name="Required">Whether a file without it is refused.</param>
/// <param name="Chosen">Whether the user named it.</param>
internal sealed record TableColumn(string Role, IReadOnlyList<string> Names, bool Required, bool Chosen)
{
    /// <summary>The setting by which a user chooses the column; null where there is none.</summary>
    public string? Setting { get; init; }

    /// <summary>Whether its cells may be lists or objects, which are <see cref="System.Text.Json.JsonElement"/>.</summary>
    public bool TakesLists { get; init; }

    /// <summary>A column whose name the user chose, or else one of the usual names.</summary>
    public static TableColumn Of(string role, string? chosen, bool required, params string[] usual) =>
        new(role, chosen is null ? usual : [chosen], required || chosen is not null, chosen is not null);

    /// <summary>Finds the name by all names that a file has, where that takes more than a list of names; null: by <see cref="Names"/>.</summary>
    public Func<IReadOnlyCollection<string>, string?>? Finder { get; init; }

    /// <summary>By the names that a file has, whether it may be without the column all the same.</summary>
    public Func<IReadOnlyCollection<string>, bool>? Unless { get; init; }

    /// <summary>The name among those that a file has, or null.</summary>
    public string? Find(IReadOnlyCollection<string> available) =>
        Finder is null ? Names.FirstOrDefault(available.Contains) : Finder(available);

    /// <summary>Like <see cref="Find"/>, but a missing required column is an error that lists what the file has.</summary>
    public string? FindIn(string file, IReadOnlyCollection<string> available)
    {
        var name = Find(available);
        if (name is null && Required && Unless?.Invoke(available) is not true)
            throw new InvalidDataException(
                $"{file} has no column {string.Join(" or ", Names.Select(n => $"\"{n}\""))} for the {Role}; it has "
                + $"{string.Join(", ", available.Take(20).Select(n => UntrustedText.Quote(n, 40)))}. "
                + (Setting is null ? $"Rename the column that holds the {Role} to {Names[0]}."
                    : $"Choose the column that holds the {Role} with {Setting}, or rename it to {Names[0]}."));
        return name;
    }
}

/// <summary>One record of a table file: the wanted columns' cells (string, long, double, bool or null) and its place.</summary>
internal readonly record struct TableRow(object?[] Cells, string File, string Unit, long Number)
{
    /// <summary>The other columns in the file's order, where the reader was asked to keep them; null elsewhere.</summary>
    public IReadOnlyList<KeyValuePair<string, JsonNode?>>? Others { get; init; }

    public InvalidDataException Error(string problem) => new($"{File}, {Unit} {Number}: {UntrustedText.Clean(problem, 400)}");

    /// <summary>The text of a cell; a missing or other value is an error that names the row.</summary>
    public string Text(int column, string role, int maxLength) => Cells[column] switch
    {
        string text when text.Length <= maxLength => text,
        string text => throw Error($"the {role} has {text.Length:N0} characters, more than the {maxLength:N0} that are accepted; "
            + "shorten the row or raise the limit."),
        null => throw Error($"the {role} is missing; fill it in or remove the row."),
        var other => throw Error($"the {role} is {other}, which is not text; choose the column that holds the {role}."),
    };
}
