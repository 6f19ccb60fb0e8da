# Sourced by ../run and setup.sh: puts the virtual environment and the built packages on the paths.
# Expects $repo and common.sh.

export VIRTUAL_ENV=$venv
export PATH=$venv/bin:$PATH

if [[ $mode == wheels ]]; then
    # What the wheels' start-up hook would set by starting every interpreter twice.
    for folder in "$venv/lib" "$venv"/lib/python3.*/site-packages/ros_*.libs; do
        [[ -d $folder ]] && LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    done
    export LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
    export AMENT_PREFIX_PATH=$venv CMAKE_PREFIX_PATH=$venv
fi

if [[ -r $repo/install/.stamp ]]; then
    set +u
    source "$repo/install/local_setup.bash"
    set -u
    # The package itself comes from the source tree, its programs and messages from the build.
    export PYTHONPATH=$venv/source:$PYTHONPATH
    export PATH=$repo/install/tggbc_ros/lib/tggbc_ros:$PATH
    # Of the plugins that ROS 2 brings for pytest, several are older than our pytest.
    export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
    export TGGBC_ROS_ENVIRONMENT=$repo
fi
