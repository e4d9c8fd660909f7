"""The migrations, named by age: v0001, v0002 …"""
