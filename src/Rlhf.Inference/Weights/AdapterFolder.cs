using System.Collections.Concurrent;
using System.Text.Json;
using Rlhf.Runtime.Files;
using Rlhf.Runtime.Text;

namespace Rlhf.Weights;

/// <summary>
/// A folder with an adapter in PEFT's format, which stands for the model that its base and it make: where the base is.
/// </summary>
public static class AdapterFolder
{
    /// <summary>PEFT's file that makes a folder an adapter's, whatever else it holds.</summary>
    public const string ConfigName = "adapter_config.json";

    private const int MaxBytes = 1 << 20;
    private static readonly ConcurrentDictionary<string, string> Given = [];

    /// <summary>Does a folder hold an adapter?</summary>
    public static bool IsAdapter(string folder) => File.Exists(Path.Combine(folder, ConfigName));

    /// <summary>What adapter_config.json says that the base is: a folder or a name on the Hub, and its revision there.</summary>
    /// <exception cref="InvalidDataException">The file is malformed.</exception>
    public static (string? Name, string? Revision) BaseName(string folder)
    {
        string file = Path.Combine(folder, ConfigName);
        byte[] content = BoundedFile.Read(file, MaxBytes, "an adapter's configuration");
        try
        {
            UntrustedJson.Check(content);
            using var json = JsonDocument.Parse(content);
            return json.RootElement.ValueKind == JsonValueKind.Object ? (Text("base_model_name_or_path"), Text("revision"))
                : throw new InvalidDataException($"{file} is not a JSON object.");

            string? Text(string key) => json.RootElement.TryGetProperty(key, out var value) && value.ValueKind == JsonValueKind.String
                && value.GetString() is { Length: > 0 } text && !text.Contains('\0') ? text : null;
        }
        catch (JsonException e)
        {
            throw new InvalidDataException($"{file} is not valid JSON: {UntrustedText.Place(e)}.", e);
        }
    }

    /// <summary>Says where the base of an adapter is, for this process: in place of what adapter_config.json says.</summary>
    /// <param name="folder">The adapter's folder.</param>
    /// <param name="baseFolder">The base's model folder.</param>
    public static void UseBase(string folder, string baseFolder) => Given[Key(folder)] = baseFolder;

    /// <summary>What <see cref="UseBase"/> said, and nothing that the file says; or null.</summary>
    public static string? GivenBase(string folder) => Given.GetValueOrDefault(Key(folder));

    /// <summary>
    /// The base's folder: the one of <see cref="UseBase"/>, or what adapter_config.json names, where that is a folder, from the current
    /// one or from the adapter's; null where it is none.
    /// </summary>
    /// <exception cref="InvalidDataException">The file is malformed.</exception>
    public static string? FindBase(string folder)
    {
        if (Given.TryGetValue(Key(folder), out var given))
            return given;
        return BaseName(folder).Name is { } name ? new[] { name, Path.Combine(folder, name) }.FirstOrDefault(IsModel) : null;
    }

    /// <summary>The same, which has to be there, and no adapter itself.</summary>
    /// <exception cref="InvalidDataException">The base is not found, or the file is malformed.</exception>
    public static string BaseOf(string folder)
    {
        string found = FindBase(folder) ?? throw new InvalidDataException($"{folder} holds an adapter "
            + (BaseName(folder).Name is { } name ? $"of {UntrustedText.Clean(name)}, which is no model folder here" : "that does not say what its base is")
            + "; name the model that it was trained on (AdapterFolder.UseBase; on the command line, --base-model).");
        return !IsAdapter(found) ? found : throw new InvalidDataException(
            $"{folder}: its base {UntrustedText.Clean(found)} is an adapter, too; merge that one into its base first (rlhf merge) and name the result.");
    }

    private static bool IsModel(string folder) => File.Exists(Path.Combine(folder, "config.json"));

    private static string Key(string folder) => Path.GetFullPath(Path.TrimEndingDirectorySeparator(folder));
}
