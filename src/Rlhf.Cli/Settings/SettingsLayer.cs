namespace Rlhf.Cli.Settings;

/// <summary>Settings that go together: a file, a preset, what suits a model that ships.</summary>
/// <param name="Name">What messages and plans call it: models/ppo.yaml, preset imdb.</param>
/// <param name="Entries">What it sets.</param>
internal sealed record SettingsLayer(string Name, IReadOnlyList<FileEntry> Entries)
{
    /// <summary>The settings in a file.</summary>
    /// <exception cref="Rlhf.Runtime.ConfigurationException">It cannot be read.</exception>
    public static SettingsLayer OfFile(string path) => new(path, YamlSettingsFile.Read(path));
}
