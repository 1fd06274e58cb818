namespace Rlhf.Export;

/// <summary>A form in which a model leaves: one class, and one line in <see cref="ExportFormats"/>.</summary>
public interface IExportFormat
{
    /// <summary>What <c>rlhf export --format</c> calls it.</summary>
    string Name { get; }

    /// <summary>What it is, in one line for people.</summary>
    string Summary { get; }

    /// <summary>Ending of the one file that is written, such as <c>.gguf</c>; null where a folder is.</summary>
    string? FileExtension { get; }

    /// <summary>Element types of weights that it stores (<see cref="ExportOptions.Type"/>), the default first.</summary>
    IReadOnlyList<string> Types { get; }

    /// <summary>Names of the properties of <see cref="ExportOptions"/> that it takes; one that it does not take must not be set.</summary>
    IReadOnlyCollection<string> Options { get; }

    /// <summary>
    /// Writes a model. Whatever is wrong with the model or the options is found before anything is created; a file is written whole or not
    /// at all.
    /// </summary>
    /// <param name="source">The model.</param>
    /// <param name="target">The file or folder to write; a folder is made when it does not exist, and what it holds is written over.</param>
    /// <param name="options">How.</param>
    /// <exception cref="Runtime.ConfigurationException">An option cannot be used, or the format cannot hold this model.</exception>
    /// <exception cref="InvalidDataException">A file of the model is damaged, or asks for something that the format cannot say.</exception>
    /// <exception cref="IOException">The disk is full, or a file cannot be read or written.</exception>
    /// <exception cref="UnauthorizedAccessException">A file may not be read or written.</exception>
    ExportResult Write(ExportSource source, string target, ExportOptions options);
}

/// <summary>The model that is exported.</summary>
/// <param name="Folder">Its model folder; an adapter's folder stands for its base with the adapter merged into it.</param>
/// <param name="Name">What people call it.</param>
public sealed record ExportSource(string Folder, string Name)
{
    /// <summary>The Hub's name of the model that it was made from, such as <c>org/name</c>; null says nothing.</summary>
    public string? BaseModel { get; init; }

    /// <summary>The command that exports it, for the model card; null says nothing.</summary>
    public string? Command { get; init; }
}

/// <summary>How a model is exported.</summary>
public sealed record ExportOptions
{
    /// <summary>Element type of the stored weights, one of <see cref="IExportFormat.Types"/>; null is the first of them.</summary>
    public string? Type { get; init; }

    /// <summary>Keep a policy's value head, which plain language models do not have.</summary>
    public bool ValueHead { get; init; }

    /// <summary>Most bytes of one file of weights, from which on they are written in several; null is one file.</summary>
    public long? MaxShardSize { get; init; }

    /// <summary>Write an adapter alone, without its base.</summary>
    public bool AdapterOnly { get; init; }
}

/// <summary>What was written.</summary>
/// <param name="Path">The file or folder.</param>
/// <param name="Architecture">What the model is, as the format calls it.</param>
/// <param name="Parameters">Number of weights that were written.</param>
/// <param name="Bytes">Size of the files of weights.</param>
/// <param name="Type">Element type of the weights.</param>
public sealed record ExportResult(string Path, string Architecture, long Parameters, long Bytes, string Type)
{
    /// <summary>What programs that open it do otherwise than this library: sentences for people.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];
}
