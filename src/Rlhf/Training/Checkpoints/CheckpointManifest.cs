using System.Security.Cryptography;
using System.Text.Json;
using Rlhf.Runtime.Files;

namespace Rlhf.Training.Checkpoints;

/// <summary>The list of a checkpoint's files with sizes and SHA-256, written last: without it, there is no checkpoint.</summary>
internal sealed record CheckpointManifest(int Format, long Step, double? Score, IReadOnlyList<CheckpointManifest.Entry> Files)
{
    public const string FileName = "manifest.json";
    private const int CurrentFormat = 1;
    private const long MostBytes = 1 << 20, MostSteps = 1L << 50;

    /// <summary>One file.</summary>
    public sealed record Entry(string Name, long Bytes, string Sha256);

    /// <summary>Lists what a folder holds now.</summary>
    public static CheckpointManifest Of(string folder, long step, double? score) => new(CurrentFormat, step, score,
        [.. Directory.EnumerateFiles(folder).Order(StringComparer.Ordinal).Select(file => Describe(folder, Path.GetFileName(file)))]);

    /// <summary>Writes the list into its folder.</summary>
    public void Save(string folder) =>
        AtomicFile.WriteAllText(Path.Combine(folder, FileName), JsonSerializer.Serialize(this, CheckpointJson.Options) + "\n");

    /// <summary>Reads the list of a folder.</summary>
    /// <exception cref="InvalidDataException">There is none, or it is damaged.</exception>
    public static CheckpointManifest Load(string folder)
    {
        string path = Path.Combine(folder, FileName);
        var manifest = CheckpointJson.Read<CheckpointManifest>(path, MostBytes);
        if (manifest.Format != CurrentFormat)
            throw new InvalidDataException($"{path} has format {manifest.Format}; this version reads format {CurrentFormat}.");
        if (manifest.Step is < 0 or > MostSteps)
            throw new InvalidDataException($"{path} is that of step {manifest.Step}, which no run has.");
        if (manifest.Files.Any(f => f?.Name is null or "" || f.Name != Path.GetFileName(f.Name) || f.Name.Any(char.IsControl)))
            throw new InvalidDataException($"{path} lists no files, or files outside its folder.");
        return manifest;
    }

    /// <summary>Compares every listed file with the list.</summary>
    /// <exception cref="InvalidDataException">A file is missing, cut short or changed; the message names it.</exception>
    public void Verify(string folder)
    {
        foreach (var expected in Files)
        {
            string path = Path.Combine(folder, expected.Name);
            if (!File.Exists(path))
                throw new InvalidDataException($"{path} is missing.");
            long bytes = new FileInfo(path).Length;
            if (bytes != expected.Bytes)
                throw new InvalidDataException($"{path} has {bytes:N0} bytes where {expected.Bytes:N0} were written.");
            if (Describe(folder, expected.Name) != expected)
                throw new InvalidDataException($"{path} is not what was written: its SHA-256 differs.");
        }
    }

    private static Entry Describe(string folder, string name)
    {
        using var stream = RegularFile.Open(Path.Combine(folder, name));
        return new(name, stream.Length, Convert.ToHexStringLower(SHA256.HashData(stream)));
    }
}
