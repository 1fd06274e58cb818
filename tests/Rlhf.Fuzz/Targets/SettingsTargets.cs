using System.Text;
using Rlhf.Cli.Settings;
using Rlhf.Runtime;
using Rlhf.Training.Ppo;

namespace Rlhf.Fuzz;

/// <summary>The YAML of --config, as far as the settings that it gives.</summary>
internal static class SettingsTargets
{
    public static IEnumerable<FuzzTarget> Make()
    {
        var binder = new SettingsBinder().Add("PPO", new PpoConfig(), c => c.Validate(), hide: nameof(PpoConfig.Divergence));
        var file = FuzzTarget.FileName;
        yield return new("settings-yaml",
            input => binder.Bind(new Dictionary<string, string>(), YamlSettingsFile.Parse(Encoding.UTF8.GetString(input), file),
                file),
            AllTargets.Bytes("learning_rate: 1.41e-5\nbatch_size: 128\n# note\n\"seed\": 'x'\ntarget: ~\n",
                "---\nkl_penalty: abs\n...\n",
                "a: |\n  text\n  more\nb: >-\n  folded\n", "{seed: 1, whiten_rewards: true}"),
            AllTargets.Bytes(":", ": ", "- ", "? ", "&a ", "*a", "!!str ", "!<x> ", "|", ">", "\"", "'", "[", "]", "{", "}", "#",
                "%YAML 1.1\n",
                "%TAG ! x\n", "---\n", "...\n", "\n  ", "\t", "~", "<<: *a", "batch_size", "seed", "\\x1b", "\\ud800",
                "\\U0010FFFF", "\0", "\u0085",
                "\u2028", "\ufeff", "@", "`"),
            typeof(ConfigurationException))
        { MaxMessage = 100_000, MaxLength = 1024 };
    }
}
